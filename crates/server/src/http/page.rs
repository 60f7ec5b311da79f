//! The page: the files of `web/app` and of the browser's client, as this binary holds them.
//!
//! Enters: a path. Leaves: a file. Invariants: every file that the page asks for is in here; the page may
//! speak to this server and run what comes from it, and nothing else.

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderValue, Response, StatusCode, header},
};

use super::{not_found, refuse, respond};

/// What the page may do. A style or a script that stands in the document is not run either.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = include_str!("../../../../web/app/index.html");

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// The files of a folder of `web/`: name, type, contents.
macro_rules! files {
    ($folder:literal: $($name:literal $kind:ident),* $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("../../../../web/", $folder, "/", $name)))),*]
    };
}

type Files = &'static [(&'static str, &'static str, &'static str)];

const APP: Files = files!("app":
    "app.css" STYLE,
    "app.js" SCRIPT,
    "composer.js" SCRIPT,
    "dom.js" SCRIPT,
    "icon.svg" IMAGE,
    "kept.js" SCRIPT,
    "keys.js" SCRIPT,
    "line.css" STYLE,
    "line.js" SCRIPT,
    "lines.js" SCRIPT,
    "names.js" SCRIPT,
    "recent.js" SCRIPT,
    "rooms.js" SCRIPT,
    "text.js" SCRIPT,
    "time.js" SCRIPT,
    "unread.js" SCRIPT,
    "unsent.js" SCRIPT,
    "view.js" SCRIPT,
    "who.js" SCRIPT,
);

const SDK: Files = files!("sdk/src":
    "append.js" SCRIPT,
    "backoff.js" SCRIPT,
    "connection.js" SCRIPT,
    "digest.js" SCRIPT,
    "error.js" SCRIPT,
    "events.js" SCRIPT,
    "fold.js" SCRIPT,
    "id.js" SCRIPT,
    "index.js" SCRIPT,
    "locked.js" SCRIPT,
    "log.js" SCRIPT,
    "outbox.js" SCRIPT,
    "reads.js" SCRIPT,
    "room.js" SCRIPT,
    "session.js" SCRIPT,
    "sha256.js" SCRIPT,
    "signed.js" SCRIPT,
    "store.js" SCRIPT,
    "timeline.js" SCRIPT,
    "types.js" SCRIPT,
);

/// `GET /`.
pub(crate) async fn index() -> Response<Body> {
    let mut response = respond(StatusCode::OK, HTML, INDEX.into());
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// `GET /app/{file}`.
pub(crate) async fn app(Path(name): Path<String>) -> Response<Body> {
    file(APP, &name)
}

/// `GET /sdk/src/{file}`.
pub(crate) async fn sdk(Path(name): Path<String>) -> Response<Body> {
    file(SDK, &name)
}

fn file(files: Files, name: &str) -> Response<Body> {
    match files.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, contents)) => respond(StatusCode::OK, kind, (*contents).into()),
        None => refuse(not_found("the page has no such file")),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_that_the_page_is_made_of_is_held() {
        for (folder, files) in [("app", APP), ("sdk/src", SDK)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web").join(folder);
            let there = fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file"));
            let there = there.filter(|file| file.file_type().expect("its type").is_file());
            let there = there.map(|file| file.file_name().into_string().expect("a name"));
            let there: BTreeSet<_> =
                there.filter(|name| !name.ends_with(".json") && name != "index.html").collect();
            let held: BTreeSet<_> = files.iter().map(|(name, ..)| (*name).to_owned()).collect();
            assert_eq!(held, there);
        }
    }
}
