//! `docs/api/openapi.yaml` and `docs/api/asyncapi.yaml` say what the server does: no more, and no less.
//!
//! | in | the files are compared with |
//! |---|---|
//! | `api/code.rs` | the routes, error codes, statuses, limits and close codes of the code |
//! | `api/frames.rs` | the frames of the protocol's types, of the golden transcripts, and of a server |
//! | `api/http.rs` | the answers of a server |

mod api;
mod support;
