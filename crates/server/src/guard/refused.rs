//! What whoever runs the server reads of origins and hosts that were refused.
//!
//! Enters: a name that a client sent. Leaves: one line in the log for each name, with the flag that would let
//! it in, where there is one. Invariants: the names are other people's text, so only printable ASCII of a
//! bounded length is logged; after [`MOST`] names nothing more is, and that is said.

use std::collections::HashSet;

use axum::http::HeaderValue;
use parking_lot::Mutex;
use tracing::warn;

/// How many names are logged.
const MOST: usize = 64;

/// The most of a name that is logged, in bytes before it is escaped.
const NAME_BYTES: usize = 200;

/// The names that were logged.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashSet<String>>);

impl Refused {
    /// A page of this origin was refused.
    pub(super) fn origin(&self, origin: &HeaderValue) {
        let shown = shown(origin.as_bytes());
        if !self.is_new(format!("origin {shown}")) {
            return;
        }
        if is_origin(&shown) {
            warn!("refused a page of the origin {shown}; to let it in: --allow-origin {shown}");
        } else {
            warn!("refused a page of the origin {shown}, which cannot be listed");
        }
    }

    /// A request for this host was refused; a page that sent it says of which origin it is.
    pub(super) fn host(&self, host: &str, origin: Option<&HeaderValue>) {
        let host = shown(host.as_bytes());
        if !self.is_new(format!("host {host}")) {
            return;
        }
        let origin = origin.map(|origin| shown(origin.as_bytes()));
        let is_its_page = |origin: &String| origin.ends_with(&format!("://{host}"));
        let origin = origin.filter(is_its_page).unwrap_or_else(|| format!("https://{host}"));
        if is_origin(&origin) {
            warn!(
                "refused a request for the host {host}; if that is this server: --allow-origin {origin}"
            );
        } else {
            warn!("refused a request for the host {host}");
        }
    }

    /// Whether this name is to be logged.
    fn is_new(&self, name: String) -> bool {
        let mut names = self.0.lock();
        if names.len() > MOST || names.contains(&name) {
            return false;
        }
        names.insert(name);
        if names.len() > MOST {
            warn!("{MOST} origins and hosts were refused; no more of them are logged");
            return false;
        }
        true
    }
}

/// A name as it is logged: printable ASCII, all else escaped.
fn shown(name: &[u8]) -> String {
    name[..name.len().min(NAME_BYTES)].escape_ascii().to_string()
}

/// Whether this can stand behind `--allow-origin` as it is, in a shell too.
fn is_origin(shown: &str) -> bool {
    let of_origin = |b: u8| b.is_ascii_alphanumeric() || b"+-._:/[]".contains(&b);
    let is_whole = shown.len() < NAME_BYTES && shown.bytes().all(of_origin);
    let host = shown.split_once("://").map(|(_, host)| host);
    is_whole && host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_and_no_more_than_some_are() {
        let refused = Refused::default();
        let new = |n: usize| refused.is_new(format!("origin {n}"));
        assert!(new(0) && !new(0));
        assert_eq!((1..1_000).filter(|n| new(*n)).count(), MOST - 1);
        assert_eq!(refused.0.lock().len(), MOST + 1);
    }

    #[test]
    fn what_is_logged_is_printable_and_a_flag_is_an_origin() {
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
