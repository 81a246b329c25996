//! Go's names for TLS versions, cipher suites and curves, as the web configuration has them, and what rustls has for
//! them. What it does not have is refused by name rather than passed over.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, kx_group};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use serde::Deserialize;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl TlsVersion {
    /// All, oldest first.
    pub(super) const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    pub(super) fn rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

impl TryFrom<String> for TlsVersion {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "TLS12" => Ok(Self::Tls12),
            "TLS13" => Ok(Self::Tls13),
            "TLS10" | "TLS11" => Err(format!("{name} is not supported here; use TLS12 or TLS13")),
            _ => Err(format!("unknown TLS version {name:?}; use TLS12 or TLS13")),
        }
    }
}

/// A cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct CipherSuite(SupportedCipherSuite);

/// Go's `tls.CipherSuites()` that rustls leaves out for good: CBC with SHA-1.
const CBC: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

impl CipherSuite {
    pub(super) fn rustls(self) -> SupportedCipherSuite {
        self.0
    }

    /// The suite's name in Go, which is IANA's.
    fn name(suite: SupportedCipherSuite) -> String {
        format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
    }
}

impl TryFrom<String> for CipherSuite {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if let Some(suite) = ALL_CIPHER_SUITES.iter().find(|suite| Self::name(**suite) == name) {
            return Ok(Self(*suite));
        }
        let known: Vec<_> = ALL_CIPHER_SUITES.iter().map(|suite| Self::name(*suite)).collect();
        let fault = if CBC.contains(&name.as_str()) { "is not supported here" } else { "is no known cipher suite" };
        Err(format!("{name:?} {fault}; there are {}", known.join(", ")))
    }
}

/// A group for the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Curve25519.
    X25519,
    /// Curve25519 with ML-KEM-768, against later quantum computers.
    X25519MlKem768,
}

impl Curve {
    pub(super) fn rustls(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::P256 => kx_group::SECP256R1,
            Self::P384 => kx_group::SECP384R1,
            Self::X25519 => kx_group::X25519,
            Self::X25519MlKem768 => kx_group::X25519MLKEM768,
        }
    }
}

impl TryFrom<String> for Curve {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let all = "CurveP256, CurveP384, X25519, X25519MLKEM768";
        match name.as_str() {
            "CurveP256" => Ok(Self::P256),
            "CurveP384" => Ok(Self::P384),
            "X25519" => Ok(Self::X25519),
            "X25519MLKEM768" => Ok(Self::X25519MlKem768),
            "CurveP521" => Err(format!("\"CurveP521\" is not supported here; there are {all}")),
            _ => Err(format!("{name:?} is no known curve; there are {all}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_rustls_has_its_name_in_go() {
        let names: Vec<_> = ALL_CIPHER_SUITES.iter().map(|suite| CipherSuite::name(*suite)).collect();
        assert_eq!(
            names,
            [
                "TLS_AES_256_GCM_SHA384",
                "TLS_AES_128_GCM_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            ]
        );
        for name in names {
            assert_eq!(CipherSuite::name(CipherSuite::try_from(name.clone()).unwrap().rustls()), name);
        }
    }

    #[test]
    fn what_rustls_lacks_is_told_from_what_nobody_has() {
        let cbc = CipherSuite::try_from(CBC[2].to_owned()).unwrap_err();
        assert!(cbc.contains("not supported here"), "{cbc}");
        let unknown = CipherSuite::try_from("TLS_RSA_WITH_RC4".to_owned()).unwrap_err();
        assert!(unknown.contains("no known cipher suite"), "{unknown}");
        assert!(TlsVersion::try_from("TLS10".to_owned()).unwrap_err().contains("not supported"));
        assert!(TlsVersion::try_from("1.2".to_owned()).unwrap_err().contains("unknown"));
        assert!(Curve::try_from("CurveP521".to_owned()).unwrap_err().contains("not supported"));
        assert!(Curve::try_from("P256".to_owned()).unwrap_err().contains("no known curve"));
    }

    #[test]
    fn curves_are_what_they_are_called() {
        for (name, group) in [
            ("CurveP256", rustls::NamedGroup::secp256r1),
            ("CurveP384", rustls::NamedGroup::secp384r1),
            ("X25519", rustls::NamedGroup::X25519),
            ("X25519MLKEM768", rustls::NamedGroup::X25519MLKEM768),
        ] {
            assert_eq!(Curve::try_from(name.to_owned()).unwrap().rustls().name(), group);
        }
    }
}
