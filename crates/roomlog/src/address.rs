//! Parses the addresses that an operator types: where to listen, and which origins are allowed.
//!
//! Input: text of the command line, the environment or the settings file. Output: an address, or an
//! error that shows the right form. No name is looked up; `localhost` is 127.0.0.1.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// The server that commands talk to by default.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7400";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let of_name = || {
            let port = typed.strip_prefix("localhost:")?.parse().ok()?;
            Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
        };
        let address = typed.parse().ok().or_else(of_name);
        address.map(Self).ok_or_else(|| {
            format!(
                "{typed:?} is not IP:PORT, such as 127.0.0.1:7400, [::1]:7400 or, for all \
                 addresses of this machine, 0.0.0.0:7400"
            )
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(typed: String) -> Result<Self, String> {
        typed.parse()
    }
}

/// Normalizes an origin to what browsers send: in lower case, without the default port of its
/// scheme, and with an IPv6 address in its shortest form. Apps and extensions have their own
/// schemes, such as `capacitor://localhost` and `chrome-extension://ID`. Fails if it is not exactly
/// `SCHEME://HOST[:PORT]` (RFC 6454, 6.2), or if no page can have it.
pub(crate) fn origin(typed: &str) -> Result<String, String> {
    let wrong = |why: &str| {
        format!(
            "allow_origin: {typed:?} is not an origin{why}; write it as https://HOST, \
             http://HOST:PORT or SCHEME://HOST, without a path"
        )
    };
    let plain = typed.trim().to_ascii_lowercase();
    let plain = plain.strip_suffix('/').unwrap_or(&plain);
    if plain == "null" || plain.starts_with("file:") {
        return Err(wrong(
            " that can be listed: all pages opened from files and all sandboxed frames have the \
             origin null, so serve the page over HTTP",
        ));
    }
    if plain == "*" {
        return Err(wrong(": every page of every site could use this server"));
    }
    let (scheme, rest) = plain.split_once("://").ok_or_else(|| wrong(""))?;
    let usual_port = match scheme {
        "http" => Some("80"),
        "https" => Some("443"),
        "ftp" | "ws" | "wss" => return Err(wrong(" that a page can have")),
        _ => None,
    };
    // A colon within brackets belongs to an IPv6 address.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
    let host = host_of(host).filter(|_| is_scheme(scheme) && port.is_none_or(is_port));
    let host = host.ok_or_else(|| wrong(""))?;
    let port = port.filter(|port| Some(*port) != usual_port);
    Ok(port
        .map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

/// A scheme (RFC 3986, 3.1), in lower case.
fn is_scheme(typed: &str) -> bool {
    let of_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    typed.starts_with(|first: char| first.is_ascii_lowercase()) && typed.bytes().all(of_scheme)
}

fn host_of(typed: &str) -> Option<String> {
    if let Some(inner) = typed.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return Some(format!("[{}]", inner.parse::<std::net::Ipv6Addr>().ok()?));
    }
    let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!typed.is_empty() && typed.bytes().all(of_name)).then(|| typed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_the_loopback_address_and_other_names_are_rejected() {
        let listens = |typed: &str| typed.parse::<Listen>().map(|listen| listen.0.to_string());
        assert_eq!(listens("localhost:7400"), Ok("127.0.0.1:7400".into()));
        assert_eq!(listens("[::1]:7400"), Ok("[::1]:7400".into()));
        for wrong in ["7400", ":7400", "localhost", "example.org:80", "127.0.0.1:70000", ""] {
            let error = listens(wrong).expect_err("no address");
            assert!(error.contains("IP:PORT, such as 127.0.0.1:7400"), "{error}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host_only() {
        for right in ["https://chat.example.org", "http://localhost:3000", "http://[::1]:81"] {
            assert_eq!(origin(right), Ok(right.into()));
        }
        for (typed, sent) in [
            ("https://Chat.Example.org/", "https://chat.example.org"),
            ("https://chat.example.org:443", "https://chat.example.org"),
            ("https://chat.example.org:80", "https://chat.example.org:80"),
            ("http://chat.example.org:80/", "http://chat.example.org"),
            ("http://chat.example.org:443", "http://chat.example.org:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[0:0::0001]:7400", "http://[::1]:7400"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("Ionic://localhost/", "ionic://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("app://-", "app://-"),
            ("web+app://h:80", "web+app://h:80"),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            ),
            (
                "moz-extension://1b671a64-40d5-491e-99b0-da01ff1f3341",
                "moz-extension://1b671a64-40d5-491e-99b0-da01ff1f3341",
            ),
        ] {
            assert_eq!(origin(typed), Ok(sent.into()), "{typed}");
        }
        for wrong in [
            "chat.example.org",
            "https://chat.example.org/app",
            "https://",
            "https://h:port",
            "https://h:070",
            "https://h?x",
            "https://ada@h",
            "ftp://h",
            "https://*",
            "*",
            "null",
            "http://[::g]",
            "file://",
            "file:///home/ada/page.html",
            "capacitor://",
            "capacitor:localhost",
            "1app://h",
            "a b://h",
            "://h",
            "wss://chat.example.org",
        ] {
            assert!(origin(wrong).is_err_and(|error| error.contains("without a path")), "{wrong}");
        }
        for of_files in ["null", "file://"] {
            assert!(origin(of_files).is_err_and(|error| error.contains("sandboxed")), "{of_files}");
        }
    }
}
