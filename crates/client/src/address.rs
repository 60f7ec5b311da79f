//! The address of a server.
//!
//! Enters: `http://host:port`, `https://…`, `ws://…`, `wss://…`, or a full `ws://…/v1/ws`. Leaves: the
//! address of the WebSocket. Invariant: the scheme is `ws` or, with TLS, `wss`, and there is a host.

use std::{fmt, str::FromStr};

use http::Uri;
use thiserror::Error;

const PATH: &str = "/v1/ws";

/// The address of a server, parsed from `http://HOST:PORT` or `ws://HOST:PORT`, and with TLS `https://` or
/// `wss://`. Displayed as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    typed: String,
    uri: Uri,
}

/// Why a text is not a server's address: another scheme, no host, a bad port, or another path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{typed:?} is not the address of a server: {problem}; write it as http://HOST:PORT or https://HOST:PORT"
)]
pub struct AddressError {
    typed: String,
    problem: String,
}

impl Address {
    /// The URI of its WebSocket.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(typed: &str) -> Result<Self, AddressError> {
        let refuse = |problem: String| Err(AddressError { typed: typed.to_owned(), problem });
        let uri: Uri = match typed.parse() {
            Ok(uri) => uri,
            Err(why) => return refuse(format!("{why}")),
        };
        let scheme = match uri.scheme_str() {
            Some("http" | "ws") => "ws",
            Some("https" | "wss") => "wss",
            _ => return refuse("it does not begin with http:// or https://".into()),
        };
        let Some(authority) = uri.authority() else { return refuse("it names no host".into()) };
        let port = authority.as_str().strip_prefix(authority.host());
        if port.is_some_and(|port| !port.is_empty()) && authority.port_u16().is_none() {
            return refuse("its port is not from 0 to 65535".into());
        }
        let path = match uri.path() {
            "" | "/" => PATH,
            PATH => PATH,
            other => return refuse(format!("the path {other} is not {PATH}")),
        };
        match format!("{scheme}://{authority}{path}").parse() {
            Ok(uri) => Ok(Self { typed: typed.to_owned(), uri }),
            Err(why) => refuse(format!("{why}")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_accepted_form_leads_to_the_websocket() {
        for typed in ["http://h:7400", "http://h:7400/", "ws://h:7400", "ws://h:7400/v1/ws"] {
            let address: Address = typed.parse().expect("an address");
            assert_eq!(address.uri().to_string(), "ws://h:7400/v1/ws");
            assert_eq!(address.to_string(), typed);
        }
        for typed in ["https://h", "wss://h", "wss://h/v1/ws"] {
            let address: Address = typed.parse().expect("an address");
            assert_eq!(address.uri().to_string(), "wss://h/v1/ws");
        }
        let address: Address = "http://[::1]:7400".parse().expect("an address");
        assert_eq!(address.uri().to_string(), "ws://[::1]:7400/v1/ws");
    }

    #[test]
    fn an_invalid_address_is_refused_with_the_reason() {
        for (typed, part) in [
            ("127.0.0.1:7400", "http://HOST:PORT"),
            ("ftp://h", "https://"),
            ("http://h/elsewhere", "/elsewhere"),
            ("http://h:99999", "its port is not from 0 to 65535"),
            ("http://[::1]:x", "http://HOST:PORT"),
            ("", "http://HOST:PORT"),
        ] {
            let said = typed.parse::<Address>().expect_err("refused").to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
