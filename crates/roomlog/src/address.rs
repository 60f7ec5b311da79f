//! Addresses as an operator types them: where to listen, and which origins may come in.
//!
//! Enters: text of the command line, the environment or the settings file. Leaves: an address, or a
//! sentence that shows the right form. Invariant: no name is looked up; `localhost` is 127.0.0.1.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::Deserialize;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
                "{typed:?} is not IP:PORT, such as 127.0.0.1:7400, [::1]:7400 or, for all addresses \
                 of this machine, 0.0.0.0:7400"
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

/// The origin as browsers send it.
///
/// # Errors
/// When it is not `http(s)://HOST[:PORT]` alone: no browser would ever send it.
pub(crate) fn origin(typed: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "allow_origin: {typed:?} is not an origin; write it as https://HOST or \
             http://HOST:PORT, without a path"
        )
    };
    let plain = typed.trim().to_ascii_lowercase();
    let plain = plain.strip_suffix('/').unwrap_or(&plain);
    let rest = plain.strip_prefix("http://").or_else(|| plain.strip_prefix("https://"));
    let rest = rest.ok_or_else(wrong)?;
    // A colon within brackets belongs to an IPv6 address.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
    if is_host(host) && port.is_none_or(is_port) { Ok(plain.to_owned()) } else { Err(wrong()) }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && host.bytes().all(of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_the_loopback_and_all_else_is_an_address() {
        let listens = |typed: &str| typed.parse::<Listen>().map(|listen| listen.0.to_string());
        assert_eq!(listens("localhost:7400"), Ok("127.0.0.1:7400".into()));
        assert_eq!(listens("[::1]:7400"), Ok("[::1]:7400".into()));
        for wrong in ["7400", ":7400", "localhost", "example.org:80", "127.0.0.1:70000", ""] {
            let said = listens(wrong).expect_err("no address");
            assert!(said.contains("IP:PORT, such as 127.0.0.1:7400"), "{said}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_a_host_and_nothing_behind_them() {
        for right in ["https://chat.example.org", "http://localhost:3000", "http://[::1]:80"] {
            assert_eq!(origin(right), Ok(right.into()));
        }
        assert_eq!(origin("https://Chat.Example.org/"), Ok("https://chat.example.org".into()));
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
        ] {
            assert!(origin(wrong).is_err_and(|said| said.contains("without a path")), "{wrong}");
        }
    }
}
