//! The page: the files of `web/app` and of the browser's client, embedded in the binary.
//!
//! Enters: a path. Leaves: a file. Invariants: every file that the page loads is embedded; the page
//! may connect to this server and run its scripts, and nothing else.

use axum::{
    body::Body,
    extract::{Path, rejection::PathRejection},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};

use crate::wire::{not_found, refuse, respond};

/// What the page may do. Inline styles and scripts are not run either.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Keeps a page of another site that opens this one from holding on to its window.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

const INDEX: &str = include_str!("../../../../web/app/index.html");

/// The name in a path.
type FileName = Result<Path<String>, PathRejection>;

/// Files by name.
type Files = &'static [(&'static str, &'static str)];

/// The files of a folder of `web/`.
macro_rules! files {
    ($folder:literal: $($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../../../web/", $folder, "/", $name)))),*]
    };
}

const APP: Files = files!("app":
    "app.css", "app.js", "composer.js", "dom.js", "icon.svg", "kept.js", "keys.js", "line.css",
    "line.js", "lines.js", "login.js", "names.js", "recent.js", "rooms.js", "text.js", "time.js",
    "unread.js", "unsent.js", "view.js", "who.js"
);

const SDK: Files = files!("sdk/src":
    "append.js", "backoff.js", "connection.js", "digest.js", "error.js", "events.js", "fold.js",
    "heartbeat.js", "id.js", "index.js", "locked.js", "log.js", "login.js", "outbox.js",
    "reads.js", "room.js", "session.js", "sha256.js", "store.js", "timeline.js", "types.js"
);

/// `GET /`.
pub(super) async fn index() -> Response<Body> {
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", INDEX.into());
    let policy = HeaderValue::from_static(POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// `GET /app/{file}`.
pub(super) async fn app(name: FileName) -> Response<Body> {
    file(APP, name)
}

/// `GET /sdk/src/{file}`.
pub(super) async fn sdk(name: FileName) -> Response<Body> {
    file(SDK, name)
}

fn file(files: Files, name: FileName) -> Response<Body> {
    // A name that is not UTF-8 is none of a file.
    let found = name.ok().and_then(|Path(name)| files.iter().find(|(known, _)| *known == name));
    let Some((name, contents)) = found else {
        return refuse(not_found("the page has no such file"));
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    respond(StatusCode::OK, kind, (*contents).into())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_embedded() {
        for (folder, files) in [("app", APP), ("sdk/src", SDK)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web").join(folder);
            let there = fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file"));
            let there = there.filter(|file| file.file_type().expect("its type").is_file());
            let there = there.map(|file| file.file_name().into_string().expect("a name"));
            let there: BTreeSet<_> =
                there.filter(|name| !name.ends_with(".json") && name != "index.html").collect();
            let embedded: BTreeSet<_> = files.iter().map(|(name, ..)| (*name).to_owned()).collect();
            assert_eq!(embedded, there);
        }
    }
}
