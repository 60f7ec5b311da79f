//! Trusted proxies: for whom a request is that one of them passes on, and over what it came to it.
//!
//! Enters: the peer's address, the headers of a request. Leaves: the client's address, and the scheme
//! of the page's own origin. Invariants: the headers of a peer that is not listed are not read; what a
//! client may have written, which is everything before the last address that is no proxy's, is not
//! believed; headers that are malformed or contradict each other change nothing: then the request is
//! the proxy's own.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The networks of proxies whose headers are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

/// Over what a page reaches the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTP in the clear.
    #[default]
    Http,
    /// TLS that a trusted proxy ends. Its word is no proof of the host: a page on the proxy's machine
    /// could send the same headers to a name that was re-bound to us.
    HttpsAtProxy,
    /// Our own TLS: the browser has checked our certificate for the host that it names.
    Https,
}

impl Scheme {
    /// How an origin of it begins.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::HttpsAtProxy | Self::Https => "https://",
        }
    }
}

impl Proxies {
    /// Proxies in these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the headers of this peer are believed.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// The client that a trusted peer asks for; `None`: the peer itself.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let list = self.last_client(headers, FORWARDED_FOR, address);
        let pairs = self.last_client(headers, header::FORWARDED, for_of);
        match (list, pairs) {
            (Some(client), None) | (None, Some(client)) => client,
            // A client can send the header that its proxy does not set.
            (Some(one), Some(other)) => one.filter(|_| one == other),
            (None, None) => None,
        }
    }

    /// The last address of a header that is no trusted proxy's. Outside: `None` without the header;
    /// inside: `None` if an item is malformed, or all are proxies.
    fn last_client(
        &self,
        headers: &HeaderMap,
        name: HeaderName,
        address_of: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<Option<IpAddr>> {
        let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        if lines.is_empty() {
            return None;
        }
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return Some(None) };
            for item in line.rsplit(',') {
                match address_of(item.trim()) {
                    Some(address) if self.trusts(address) => {}
                    client => return Some(client),
                }
            }
        }
        Some(None)
    }

    /// Over what a client reached a trusted peer.
    pub(crate) fn scheme(headers: &HeaderMap) -> Scheme {
        let mut lines = headers.get_all(FORWARDED_PROTO).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return Scheme::Http };
        // Some proxies name the scheme of the WebSocket.
        let is_tls =
            ["https", "wss"].iter().any(|it| line.as_bytes().eq_ignore_ascii_case(it.as_bytes()));
        if is_tls { Scheme::HttpsAtProxy } else { Scheme::Http }
    }
}

/// An address, with or without a port, of IPv6 also in brackets.
fn address(item: &str) -> Option<IpAddr> {
    let bare = item.strip_prefix('[').and_then(|item| item.strip_suffix(']')).unwrap_or(item);
    let address = bare.parse().or_else(|_| item.parse().map(|it: SocketAddr| it.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The address in the `for` of an element of `Forwarded` (RFC 7239, 4).
fn for_of(element: &str) -> Option<IpAddr> {
    let mut values = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let value = values.next()?;
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    address(bare).filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(lines: &[(&str, &str)]) -> Option<String> {
        let networks = ["10.0.0.0/8", "::1/128"].map(|it| it.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        Proxies::new(networks.to_vec()).client(&headers).map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        for (value, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("198.51.100.9, 192.0.2.1,10.0.0.2 , ::1", Some("192.0.2.1")),
            ("nonsense, 192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, nonsense", None),
            ("192.0.2.1, ", None),
            ("10.0.0.1, 10.0.0.2", None),
            ("", None),
        ] {
            assert_eq!(client(&[("x-forwarded-for", value)]).as_deref(), expected, "{value}");
        }
        let two = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(&two).as_deref(), Some("192.0.2.1"));
        assert_eq!(client(&[]), None);
    }

    #[test]
    fn forwarded_is_read_too_and_may_not_contradict() {
        for (value, expected) in [
            ("for=192.0.2.1;proto=https;by=10.0.0.1", Some("192.0.2.1")),
            ("For=\"[2001:db8::1]:4711\", for=10.0.0.2", Some("2001:db8::1")),
            ("for=192.0.2.1, proto=https", None),
            ("for=192.0.2.1, for=unknown", None),
            ("for=192.0.2.1;for=192.0.2.2", None),
        ] {
            assert_eq!(client(&[("forwarded", value)]).as_deref(), expected, "{value}");
        }
        let both = |other| client(&[("x-forwarded-for", "192.0.2.1"), ("forwarded", other)]);
        assert_eq!(both("for=192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(both("for=192.0.2.7"), None);
    }
}
