//! Client certificates: what `client_auth_type` and `client_allowed_sans` ask for.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::EndEntityCert;

/// Takes any certificate, or none: `RequestClientCert`, `RequireAnyClientCert`. The client proves that it has the key.
#[derive(Debug)]
pub(super) struct AnyCertificate {
    pub(super) mandatory: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that another verifier finds valid, and that has one of the allowed names.
#[derive(Debug)]
pub(super) struct AllowedNames {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) names: Vec<AllowedName>,
}

/// An entry of `client_allowed_sans`, compared whole: `*.example.org` allows a certificate with that very name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AllowedName {
    Address(IpAddr),
    /// A DNS name or a URI.
    Text(String),
}

impl AllowedName {
    /// Reads an entry; e-mail addresses are not supported.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.is_empty() {
            return Err("a name is empty".to_owned());
        }
        if text.contains('@') && !text.contains(':') {
            return Err(format!(
                "{text:?}: e-mail addresses are not supported here; use DNS names, IP addresses, URIs"
            ));
        }
        Ok(Self::Text(text.to_owned()))
    }

    fn names(&self, certificate: &EndEntityCert<'_>) -> bool {
        match self {
            Self::Address(address) => {
                let name = ServerName::IpAddress((*address).into());
                certificate.verify_is_valid_for_subject_name(&name).is_ok()
            }
            Self::Text(text) => {
                certificate.valid_dns_names().any(|name| name == text)
                    || certificate.valid_uri_names().any(|name| name == text)
            }
        }
    }
}

impl ClientCertVerifier for AllowedNames {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(certificate, intermediates, now)?;
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        if self.names.iter().any(|name| name.names(&parsed)) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(names: &[&str], subjects: &[&str]) -> bool {
        let key =
            rcgen::generate_simple_self_signed(subjects.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let certificate = key.unwrap().cert;
        let parsed = EndEntityCert::try_from(certificate.der()).unwrap();
        names.iter().any(|name| AllowedName::parse(name).unwrap().names(&parsed))
    }

    #[test]
    fn names_match_whole_or_not_at_all() {
        assert!(allows(&["prometheus.example.org"], &["other.example.org", "prometheus.example.org"]));
        assert!(!allows(&["prometheus.example.org"], &["prometheus.example.org.evil.org"]));
        assert!(!allows(&["prometheus.example.org"], &["*.example.org"]), "a wildcard is a name of its own");
        assert!(allows(&["*.example.org"], &["*.example.org"]));
        assert!(!allows(&["example.org"], &[]), "a certificate without names");
    }

    #[test]
    fn addresses_match_however_written() {
        assert!(allows(&["10.0.0.1"], &["10.0.0.1"]));
        assert!(!allows(&["10.0.0.1"], &["10.0.0.2"]));
        assert!(allows(&["0:0:0:0:0:0:0:1"], &["::1"]));
    }

    #[test]
    fn an_email_address_is_refused() {
        assert!(AllowedName::parse("ops@example.org").unwrap_err().contains("e-mail"));
        assert!(AllowedName::parse("").is_err());
        assert_eq!(
            AllowedName::parse("spiffe://user@example.org/x").unwrap(),
            AllowedName::Text("spiffe://user@example.org/x".to_owned())
        );
    }
}
