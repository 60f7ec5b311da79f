//! Who may speak to this server at all: the browser rules.
//!
//! Enters: the head of a request. Leaves: whether it goes on. A page of another site must not reach a server
//! on the user's own machine or network: `Origin` says where a page came from, and `Host` keeps a name that
//! was re-bound to our address (DNS rebinding) from passing as our own origin. Whoever runs the server
//! reads of each refused name once, with the flag that would let it in ([`Refused`]).

mod refused;

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Uri, header, uri::Authority},
};
use roomlog_protocol::{ErrorCode, Refusal};

use self::refused::Refused;

/// The browser origins that are let in.
#[derive(Debug)]
pub(crate) struct Guard {
    /// As browsers send them, in lower case.
    origins: Vec<String>,
    /// The hosts of those that are web sites, without ports.
    hosts: Vec<String>,
    refused: Refused,
}

impl Guard {
    pub(crate) fn new(origins: &[String]) -> Self {
        let plain = |origin: &String| origin.trim_end_matches('/').to_ascii_lowercase();
        let origins: Vec<_> = origins.iter().map(plain).collect();
        // The host of `app://obsidian.md` is no name of a server: a web site of that name is another origin.
        let is_site =
            |origin: &&String| origin.starts_with("http://") || origin.starts_with("https://");
        let sites = origins.iter().filter(is_site).filter_map(|origin| origin.parse().ok());
        let hosts = sites.filter_map(|site: Uri| site.host().map(str::to_owned)).collect();
        Self { origins, hosts, refused: Refused::default() }
    }

    /// Checks `Host` and `Origin`; why, when the request must not go on.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Refusal> {
        let host = host_of(request.uri(), request.headers())?;
        let origin = one_line(request.headers(), header::ORIGIN)?;
        let forbidden = |why: &str| Err(Refusal::new(ErrorCode::Forbidden, why));
        if !self.is_known_host(host.host()) {
            self.refused.host(host.as_str(), origin);
            return forbidden(
                "this Host is not served here: use the address or localhost, or list the page's \
                 origin with --allow-origin",
            );
        }
        let Some(origin) = origin else { return Ok(()) };
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let own = text.strip_prefix("http://").is_some_and(|own| own == host.as_str());
        if own || self.origins.contains(&text) {
            return Ok(());
        }
        self.refused.origin(origin);
        forbidden(if text == "null" {
            "pages without an origin of their own (files, sandboxed frames) may not speak to this \
             server: serve the page over HTTP"
        } else {
            "pages of this origin may not speak to this server: list it with --allow-origin"
        })
    }

    /// The origin of the request, when it is a listed one: CORS answers with it.
    pub(crate) fn listed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.contains(&text).then(|| origin.clone())
    }

    fn is_known_host(&self, name: &str) -> bool {
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        address.unwrap_or(name).parse::<IpAddr>().is_ok()
            || name == "localhost"
            || self.hosts.iter().any(|host| host == name)
    }
}

/// Whom the request is for, in lower case: the target's authority when the target is absolute, else `Host`
/// (RFC 9112, 3.2). Where a proxy and we would read two different ones, it is refused.
fn host_of(target: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let bad = |why: &str| Refusal::new(ErrorCode::BadMessage, why);
    let line = one_line(headers, header::HOST)?;
    let host = match (target.authority(), line) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(line)) => line.to_str().unwrap_or_default(),
        (None, None) => return Err(bad("the request has no Host header")),
    };
    let host = host.to_ascii_lowercase().parse::<Authority>().ok();
    let is_plain = |host: &Authority| {
        let port = host.as_str().strip_prefix(host.host()).and_then(|port| port.strip_prefix(':'));
        host.as_str() == host.host()
            || port.is_some_and(|port| port.is_empty() || host.port_u16().is_some())
    };
    host.filter(is_plain).ok_or_else(|| bad("the Host of the request is not HOST or HOST:PORT"))
}

/// The value of a header that may stand there once.
fn one_line(
    headers: &HeaderMap,
    name: header::HeaderName,
) -> Result<Option<&HeaderValue>, Refusal> {
    let mut lines = headers.get_all(&name).iter();
    let first = lines.next();
    if lines.next().is_some() {
        let message = format!("the request has more than one {name} header");
        return Err(Refusal::new(ErrorCode::BadMessage, message));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn code(target: &str, headers: &[(&str, &str)]) -> Option<ErrorCode> {
        let guard =
            Guard::new(&["https://chat.example.org".into(), "capacitor://localhost".into()]);
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        guard.check(&request).err().map(|refusal| refusal.code)
    }

    fn check(host: &str, origin: Option<&str>) -> bool {
        let origin = origin.map(|origin| ("origin", origin));
        let headers: Vec<_> = [("host", host)].into_iter().chain(origin).collect();
        code("/", &headers).is_none()
    }

    #[test]
    fn a_host_is_an_address_localhost_or_listed() {
        for host in
            ["127.0.0.1:7400", "[::1]:7400", "[::1]", "localhost", "LOCALHOST:1", "10.0.0.7"]
        {
            assert!(check(host, None), "{host}");
        }
        assert!(check("chat.example.org", None) && check("127.0.0.1:", None));
        for host in ["evil.example.org", "localhost.evil.org", "127.0.0.1.nip.io:7400", ""] {
            assert!(!check(host, None), "{host}");
        }
    }

    #[test]
    fn an_origin_is_the_servers_own_or_listed() {
        assert!(check("127.0.0.1:7400", Some("http://127.0.0.1:7400")));
        assert!(check("127.0.0.1:7400", Some("https://chat.example.org")));
        assert!(check("127.0.0.1:7400", Some("capacitor://localhost")));
        for origin in [
            "http://127.0.0.1:7401",
            "https://127.0.0.1:7400",
            "http://127.0.0.1",
            "null",
            "https://evil.example.org",
            "capacitor://evil",
        ] {
            assert!(!check("127.0.0.1:7400", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_host_of_which_there_is_not_one_that_all_agree_on_is_400() {
        let (good, other) = (("host", "127.0.0.1"), ("host", "chat.example.org"));
        for headers in [&[][..], &[good, good], &[good, other], &[("host", "a b")]] {
            assert_eq!(code("/", headers), Some(ErrorCode::BadMessage), "{headers:?}");
        }
        for host in ["127.0.0.1:x", "127.0.0.1:99999", "ada@127.0.0.1", "127.0.0.1/x", "a,b c"] {
            assert_eq!(code("/", &[("host", host)]), Some(ErrorCode::BadMessage), "{host}");
        }
        let origins = [good, ("origin", "http://127.0.0.1"), ("origin", "https://evil.example")];
        assert_eq!(code("/", &origins), Some(ErrorCode::BadMessage));
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        let good = [("host", "127.0.0.1")];
        assert_eq!(code("http://127.0.0.1:7400/v1/rooms", &good), None);
        assert_eq!(code("http://127.0.0.1/", &[("host", "evil.example")]), None);
        assert_eq!(code("http://evil.example/", &good), Some(ErrorCode::Forbidden));
        assert_eq!(code("http://ada@127.0.0.1/", &good), Some(ErrorCode::BadMessage));
        assert_eq!(code("http://127.0.0.1/", &[good[0], good[0]]), Some(ErrorCode::BadMessage));
    }
}
