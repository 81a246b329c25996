//! Which endpoints may be called without TLS.

use aws_config::SdkConfig;
use http::Uri;

/// An endpoint that would show signed requests to the network.
#[derive(Debug, thiserror::Error)]
#[error(
    "{variable} is {url}: plain HTTP to an address that is not loopback would show signed requests to the network; \
     use https, or pass --aws.allow-insecure-endpoint"
)]
pub struct EndpointError {
    variable: &'static str,
    url: String,
}

/// Refuses plain HTTP that leaves this host.
pub(super) fn check(config: &SdkConfig, allowed: bool) -> Result<(), EndpointError> {
    let service = std::env::var("AWS_ENDPOINT_URL_IOT").ok();
    let sources = [("AWS_ENDPOINT_URL_IOT", service.as_deref()), ("AWS_ENDPOINT_URL", config.endpoint_url())];
    for (variable, url) in sources {
        if let Some(url) = url.filter(|url| !allowed && is_insecure(url)) {
            return Err(EndpointError { variable, url: url.to_owned() });
        }
    }
    Ok(())
}

fn is_insecure(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("http") && !loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in ["https://iot.example.com", "http://127.0.0.1:80", "http://localhost:1/", "http://[::1]:8080"] {
            assert!(!is_insecure(good), "{good}");
        }
        for bad in ["http://iot.example.com", "http://10.0.0.1:80", "http://localhost.example.com"] {
            assert!(is_insecure(bad), "{bad}");
        }
    }
}
