//! `tls_server_config`, from what is written to what rustls takes.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::client_cert::{AllowedName, AllowedNames, AnyCertificate};
use super::{CipherSuite, ClientAuth, TlsServerConfig, TlsVersion};

/// A rule that a configuration breaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The key, from the top of the file.
    pub(super) key: &'static str,
    /// The rule.
    pub(super) rule: String,
}

fn broken<T>(key: &'static str, rule: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { key, rule: rule.into() })
}

/// Where a PEM text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// The configuration has it.
    Inline(&'a str),
    /// A file has it; relative to the configuration.
    File(&'a str),
}

/// Certificate, key and the authorities of clients: as sources, or as what was read from them.
#[derive(Debug)]
pub(super) struct Material<T> {
    pub(super) cert: T,
    pub(super) key: T,
    pub(super) client_ca: Option<T>,
}

/// Where the PEM texts are.
pub(super) fn sources(config: &TlsServerConfig) -> Result<Material<Source<'_>>, Broken> {
    let key = config.key.as_ref().map(|secret| secret.expose());
    let cert = source("tls_server_config.cert", "cert", config.cert.as_deref(), config.cert_file.as_deref())?;
    let key = source("tls_server_config.key", "key", key, config.key_file.as_deref())?;
    let (Some(cert), Some(key)) = (cert, key) else {
        return broken("tls_server_config", "needs cert_file or cert, and key_file or key");
    };
    let client_ca = source(
        "tls_server_config.client_ca",
        "client_ca",
        config.client_ca.as_deref(),
        config.client_ca_file.as_deref(),
    )?;
    Ok(Material { cert, key, client_ca })
}

fn source<'a>(
    key: &'static str,
    name: &str,
    inline: Option<&'a str>,
    file: Option<&'a str>,
) -> Result<Option<Source<'a>>, Broken> {
    match (inline.filter(|text| !text.is_empty()), file.filter(|text| !text.is_empty())) {
        (Some(_), Some(_)) => broken(key, format!("{name} and {name}_file exclude each other")),
        (Some(text), None) => Ok(Some(Source::Inline(text))),
        (None, file) => Ok(file.map(Source::File)),
    }
}

/// Puts together what rustls serves with.
pub(super) fn server_config(config: &TlsServerConfig, pem: &Material<Vec<u8>>) -> Result<ServerConfig, Broken> {
    let versions = versions(config)?;
    let provider = Arc::new(provider(config, &versions)?);
    let verifier = client_verifier(config, pem.client_ca.as_deref(), &provider)?;
    let versions: Vec<_> = versions.into_iter().map(TlsVersion::rustls).collect();
    let builder = match ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions) {
        Ok(builder) => builder,
        Err(error) => return broken("tls_server_config.cipher_suites", format!("no handshake could succeed: {error}")),
    };
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates("tls_server_config.cert", &pem.cert)?;
    // The PEM reader's errors quote lines of the file, so they are not passed on.
    let Ok(key) = PrivateKeyDer::from_pem_slice(&pem.key) else {
        return broken("tls_server_config.key", "no private key in PEM found");
    };
    let mut tls = match builder.with_single_cert(chain, key) {
        Ok(tls) => tls,
        Err(error) => return broken("tls_server_config.cert", format!("certificate and key cannot be used: {error}")),
    };
    tls.ignore_client_order = config.prefer_server_cipher_suites.unwrap_or(true);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

fn versions(config: &TlsServerConfig) -> Result<Vec<TlsVersion>, Broken> {
    let (min, max) = (config.min_version.unwrap_or(TlsVersion::Tls12), config.max_version.unwrap_or(TlsVersion::Tls13));
    if min > max {
        return broken("tls_server_config.min_version", "is above max_version");
    }
    Ok(TlsVersion::ALL.into_iter().filter(|version| (min..=max).contains(version)).collect())
}

fn provider(config: &TlsServerConfig, versions: &[TlsVersion]) -> Result<CryptoProvider, Broken> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(curves) = config.curve_preferences.as_deref().filter(|curves| !curves.is_empty()) {
        provider.kx_groups = curves.iter().map(|curve| curve.rustls()).collect();
    }
    if let Some(suites) = config.cipher_suites.as_deref().filter(|suites| !suites.is_empty()) {
        let of = |version: TlsVersion| {
            let named = suites.iter().map(|suite: &CipherSuite| suite.rustls());
            named.filter(move |suite| suite.version() == version.rustls())
        };
        let mut chosen: Vec<_> = of(TlsVersion::Tls13).collect();
        if chosen.is_empty() {
            chosen = provider.cipher_suites.iter().copied().filter(|suite| suite.tls13().is_some()).collect();
        }
        chosen.extend(of(TlsVersion::Tls12));
        provider.cipher_suites = chosen;
    }
    let served = |version: &TlsVersion| provider.cipher_suites.iter().any(|suite| suite.version() == version.rustls());
    match versions.iter().find(|version| !served(version)) {
        Some(_) => broken(
            "tls_server_config.cipher_suites",
            "names no suite of TLS 1.2; name one, or set min_version to TLS13",
        ),
        None => Ok(provider),
    }
}

/// Who checks the certificates of clients; `None` where they are not asked for any.
fn client_verifier(
    config: &TlsServerConfig,
    ca: Option<&[u8]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Broken> {
    let auth = config.client_auth_type.unwrap_or_default();
    let verifies = matches!(auth, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify);
    let ca = match (ca, verifies) {
        (Some(ca), true) => ca,
        (Some(_), false) => {
            let rule = "is used only with client_auth_type RequireAndVerifyClientCert or VerifyClientCertIfGiven";
            return broken("tls_server_config.client_ca", rule);
        }
        (None, true) => {
            let rule = "verifying client certificates needs client_ca_file or client_ca";
            return broken("tls_server_config.client_auth_type", rule);
        }
        (None, false) => &[],
    };
    if config.client_allowed_sans.is_some() && auth != ClientAuth::RequireAndVerify {
        let rule = "needs client_auth_type RequireAndVerifyClientCert: anybody can write any name into a certificate \
                    that nobody verifies";
        return broken("tls_server_config.client_allowed_sans", rule);
    }
    let any = |mandatory| -> Arc<dyn ClientCertVerifier> {
        Arc::new(AnyCertificate { mandatory, algorithms: provider.signature_verification_algorithms })
    };
    let verifier = match auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request => any(false),
        ClientAuth::RequireAny => any(true),
        ClientAuth::VerifyIfGiven => authorities(ca, provider, true)?,
        ClientAuth::RequireAndVerify => authorities(ca, provider, false)?,
    };
    let Some(names) = &config.client_allowed_sans else { return Ok(Some(verifier)) };
    if names.is_empty() {
        return broken("tls_server_config.client_allowed_sans", "is empty: no client would be let in");
    }
    let names: Result<_, _> = names.iter().map(|name| AllowedName::parse(name)).collect();
    match names {
        Ok(names) => Ok(Some(Arc::new(AllowedNames { verifier, names }))),
        Err(rule) => broken("tls_server_config.client_allowed_sans", rule),
    }
}

fn authorities(
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, Broken> {
    let key = "tls_server_config.client_ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, pem)? {
        if let Err(error) = roots.add(certificate) {
            return broken(key, format!("a certificate cannot be used: {error}"));
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().or_else(|error| broken(key, error.to_string()))
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Broken> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => broken(key, "no certificate in PEM found"),
        Err(_) => broken(key, "not a certificate in PEM"),
    }
}
