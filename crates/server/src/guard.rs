//! The browser rules: which requests may use this server at all.
//!
//! Enters: a request. Leaves: a refusal, or the answer with the headers that browsers need (CORS). A
//! page of another site must not reach a server on the user's own machine or network: `Origin` says
//! where a page came from, and `Host` keeps a name that was re-bound to our address (DNS rebinding)
//! from passing as our own origin. Each rejected name is logged once, with the flag that would allow
//! it; names are other people's text, so only printable ASCII of a bounded length, and at most
//! [`LOGGED_NAMES`] of them.

use std::{collections::HashSet, net::IpAddr};

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header,
        uri::Authority,
    },
};
use parking_lot::Mutex;
use roomlog_protocol::{ErrorCode, Refusal};
use tracing::warn;

use crate::{
    proxies::Scheme,
    wire::{bad, plain, refuse},
};

/// What a page of a listed origin may send: appends, one or many, and where to resume events.
const CORS_HEADERS: &str = "authorization, content-type, idempotency-key, last-event-id";

/// What such a page may read of an answer besides its body: the log's id, and when to retry.
const CORS_EXPOSED: &str = "roomlog-log, retry-after";

/// How long a browser may cache this, in seconds; none keeps it for longer than two hours.
const CORS_MAX_AGE: &str = "7200";

/// Which sites' pages may load an answer without CORS, as an image or a script.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How many rejected names are logged.
const LOGGED_NAMES: usize = 64;

/// The most bytes of a name that are logged, before it is escaped.
const NAME_BYTES: usize = 200;

#[derive(Debug)]
pub(crate) struct Guard {
    /// As browsers send them, in lower case.
    origins: Vec<String>,
    /// The hosts of those that are web sites, without ports.
    hosts: Vec<String>,
    /// Whether a request for another host is refused: who has no token may be tricked into it.
    checks_hosts: bool,
    rejections: RejectionLog,
}

impl Guard {
    pub(crate) fn new(origins: &[String], checks_hosts: bool) -> Self {
        let plain = |origin: &String| origin.trim_end_matches('/').to_ascii_lowercase();
        let origins: Vec<_> = origins.iter().map(plain).collect();
        // The host of `app://obsidian.md` names no server: a web site of that name is another
        // origin.
        let is_site =
            |origin: &&String| origin.starts_with("http://") || origin.starts_with("https://");
        let sites = origins.iter().filter(is_site).filter_map(|origin| origin.parse().ok());
        let hosts = sites.filter_map(|site: Uri| site.host().map(str::to_owned)).collect();
        Self { origins, hosts, checks_hosts, rejections: RejectionLog::default() }
    }

    /// The rules of the operators' door: it is known by the same hosts, and no page may use it.
    pub(crate) fn of_door(origins: &[String]) -> Self {
        Self { origins: Vec::new(), ..Self::new(origins, true) }
    }

    /// Answers a request with `next` if the rules allow it, and adds the headers to the answer that they
    /// need.
    pub(crate) async fn answer(
        &self,
        request: Request,
        next: impl AsyncFnOnce(Request) -> Response<Body>,
    ) -> Response<Body> {
        let listed = self.listed_origin(request.headers());
        let mut response = match self.check(&request) {
            Ok(()) if listed.is_some() && request.method() == Method::OPTIONS => preflight(),
            Ok(()) => next(request).await,
            Err(refusal) => refuse(refusal),
        };
        let headers = response.headers_mut();
        if let Some(origin) = listed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static(CORS_EXPOSED);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
        response
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let host = host_of(request.uri(), request.headers())?;
        let origin = one_line(request.headers(), header::ORIGIN)?;
        let forbidden = |why: &str| Err(Refusal::new(ErrorCode::Forbidden, why));
        let scheme = request.extensions().get::<Scheme>().copied().unwrap_or_default();
        let checks_host = self.checks_hosts && scheme != Scheme::Https;
        if checks_host && !self.is_known_host(host.host()) {
            self.rejections.host(host.as_str(), origin);
            return forbidden(
                "this Host is not served here: use the address or localhost, or list the page's \
                 origin with --allow-origin",
            );
        }
        let Some(origin) = origin else { return Ok(()) };
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let own = text.strip_prefix(scheme.prefix()).is_some_and(|own| own == host.as_str());
        if own || self.origins.contains(&text) {
            return Ok(());
        }
        self.rejections.origin(origin);
        forbidden(if text == "null" {
            "pages without an origin of their own (files, sandboxed frames) may not use this \
             server: serve the page over HTTP"
        } else {
            "pages of this origin may not use this server: list it with --allow-origin"
        })
    }

    /// The origin of the request if it is listed: CORS answers with it.
    fn listed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
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

/// The host of the request, in lower case: the target's authority if the target is absolute, else
/// `Host` (RFC 9112, 3.2). Rejected where a proxy and we might read two different ones.
fn host_of(target: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
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

/// The value of a header that may appear once.
fn one_line(
    headers: &HeaderMap,
    name: header::HeaderName,
) -> Result<Option<&HeaderValue>, Refusal> {
    let mut lines = headers.get_all(&name).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err(bad(format!("the request has more than one {name} header")));
    }
    Ok(first)
}

/// The headers that every answer has, unless it sets one itself.
pub(crate) const SAFE_HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (RESOURCE_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the headers that keep other sites' pages from loading, framing or sniffing an answer, and
/// caches from keeping it.
pub(crate) fn add_safe_headers(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in SAFE_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn preflight() -> Response<Body> {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[derive(Debug, Default)]
struct RejectionLog(Mutex<HashSet<String>>);

impl RejectionLog {
    fn origin(&self, origin: &HeaderValue) {
        let shown = shown(origin.as_bytes());
        if !self.is_new(format!("origin {shown}")) {
            return;
        }
        if is_origin(&shown) {
            warn!("refused a page of the origin {shown}; to allow it: --allow-origin {shown}");
        } else {
            warn!("refused a page of the origin {shown}, which cannot be listed");
        }
    }

    /// Logs a rejected host; the origin of a page of that host is the one to list.
    fn host(&self, host: &str, origin: Option<&HeaderValue>) {
        let host = shown(host.as_bytes());
        if !self.is_new(format!("host {host}")) {
            return;
        }
        let origin = origin.map(|origin| shown(origin.as_bytes()));
        let is_its_page = |origin: &String| origin.ends_with(&format!("://{host}"));
        let origin = origin.filter(is_its_page).unwrap_or_else(|| format!("https://{host}"));
        if is_origin(&origin) {
            warn!(
                "refused a request for the host {host}; if it is this server: \
                 --allow-origin {origin}"
            );
        } else {
            warn!("refused a request for the host {host}");
        }
    }

    fn is_new(&self, name: String) -> bool {
        let mut names = self.0.lock();
        if names.len() > LOGGED_NAMES || names.contains(&name) {
            return false;
        }
        names.insert(name);
        if names.len() > LOGGED_NAMES {
            warn!("{LOGGED_NAMES} origins and hosts were refused; no more of them are logged");
            return false;
        }
        true
    }
}

/// A name as logged: printable ASCII, all else escaped.
fn shown(name: &[u8]) -> String {
    name[..name.len().min(NAME_BYTES)].escape_ascii().to_string()
}

/// Whether this is an origin that can follow `--allow-origin` unquoted, in a shell too.
fn is_origin(shown: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"+-._:/[]".contains(&b);
    let is_uncut = shown.len() < NAME_BYTES && shown.bytes().all(is_plain);
    let host = shown.split_once("://").map(|(_, host)| host);
    is_uncut && host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(target: &str, headers: &[(&str, &str)]) -> Option<ErrorCode> {
        let guard =
            Guard::new(&["https://chat.example.org".into(), "capacitor://localhost".into()], true);
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
    fn an_ambiguous_or_malformed_host_is_400() {
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

    #[test]
    fn a_name_is_logged_once_and_their_number_is_bounded() {
        let log = RejectionLog::default();
        let new = |n: usize| log.is_new(format!("origin {n}"));
        assert!(new(0) && !new(0));
        assert_eq!((1..1_000).filter(|n| new(*n)).count(), LOGGED_NAMES - 1);
        assert_eq!(log.0.lock().len(), LOGGED_NAMES + 1);
    }

    #[test]
    fn a_logged_name_is_printable_and_a_flag_is_an_origin() {
        assert_eq!(shown(b"https://a\x1b[31m\xff"), "https://a\\x1b[31m\\xff");
        assert!(shown(&[b'x'; 9_000]).len() <= NAME_BYTES);
        for origin in ["https://chat.example.org", "http://[::1]:81", "capacitor://localhost"] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in ["null", "https://", "https://a b", "https://a/x", "https://$(x)", "file://"] {
            assert!(!is_origin(other), "{other}");
        }
    }
}
