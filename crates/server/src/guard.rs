//! Who may speak to this server at all: the browser rules.
//!
//! Enters: the headers of a request. Leaves: whether it goes on. A page of another site must not reach
//! a server on the user's own machine or network: `Origin` says where a page came from, and `Host`
//! keeps a name that was re-bound to our address (DNS rebinding) from passing as our own origin.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// The browser origins that are let in.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    origins: Vec<String>,
}

impl Guard {
    pub(crate) fn new(origins: &[String]) -> Self {
        let plain = |origin: &String| origin.trim_end_matches('/').to_ascii_lowercase();
        Self { origins: origins.iter().map(plain).collect() }
    }

    /// Checks `Host` and `Origin`; a sentence when the request must not go on.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).ok_or("the request names no Host")?.to_ascii_lowercase();
        if !self.is_known_host(&host) {
            return Err("this Host is not served here: use the address, localhost, or list the \
                        page's origin with --allow-origin");
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("null").to_ascii_lowercase();
        if origin.strip_prefix("http://") == Some(&host) || self.origins.contains(&origin) {
            Ok(())
        } else {
            Err("pages of this origin may not speak to this server: list it with --allow-origin")
        }
    }

    /// The origin of the request, when it is a listed one: CORS answers with it.
    pub(crate) fn listed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.contains(&text).then(|| origin.clone())
    }

    fn is_known_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let listed = |origin: &String| {
            let uri: Option<Uri> = origin.parse().ok();
            uri.is_some_and(|uri| uri.host().is_some_and(|listed| listed == name))
        };
        address.parse::<IpAddr>().is_ok() || name == "localhost" || self.origins.iter().any(listed)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // `[::1]:7400` has a port, `[::1]` has none.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> bool {
        let guard = Guard::new(&["https://chat.example.org".into()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        }
        guard.check(&headers).is_ok()
    }

    #[test]
    fn a_host_is_an_address_localhost_or_listed() {
        for host in
            ["127.0.0.1:7400", "[::1]:7400", "[::1]", "localhost", "LOCALHOST:1", "10.0.0.7"]
        {
            assert!(check(host, None), "{host}");
        }
        assert!(check("chat.example.org", None));
        for host in ["evil.example.org", "localhost.evil.org", "127.0.0.1.nip.io:7400", ""] {
            assert!(!check(host, None), "{host}");
        }
    }

    #[test]
    fn an_origin_is_the_servers_own_or_listed() {
        assert!(check("127.0.0.1:7400", Some("http://127.0.0.1:7400")));
        assert!(check("127.0.0.1:7400", Some("https://chat.example.org")));
        for origin in [
            "http://127.0.0.1:7401",
            "https://127.0.0.1:7400",
            "http://127.0.0.1",
            "null",
            "https://evil.example.org",
        ] {
            assert!(!check("127.0.0.1:7400", Some(origin)), "{origin}");
        }
    }
}
