//! The part of HTTP that batches need, with one answer of its own: none, in the middle of a batch.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use roomlog_protocol::{
    Author, ClientAppend, Limits, RoomName, ServerFrame, client::parse_append, object::Object,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Rooms;

pub(super) async fn serve(stream: TcpStream, rooms: Arc<Rooms>) {
    let answer = |request| answer(request, rooms.clone());
    // One that hangs up is what was asked for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(
    request: Request<Incoming>,
    rooms: Arc<Rooms>,
) -> io::Result<Response<Full<Bytes>>> {
    let told = if request.method() == Method::POST {
        let room = request.uri().path().split('/').nth(3).expect("a room").parse().expect("a room");
        let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        batch(&rooms, &room, std::str::from_utf8(&body).expect("UTF-8"))?
    } else {
        json!({"log": "log-1"}).to_string()
    };
    Ok(Response::new(Full::from(told)))
}

/// An outcome a line; an error hangs up.
fn batch(rooms: &Rooms, room: &RoomName, body: &str) -> io::Result<String> {
    let mut told = String::new();
    for line in body.lines() {
        let object = Object::parse(line).expect("an object");
        let append = parse_append(&object, room, &Limits::default()).expect("an append");
        told += &format!("{}\n", outcome(rooms, &append));
        // What is there already was counted before.
        if !told.ends_with("\"repeat\":true}\n") && rooms.too_many() {
            return Err(io::Error::other("hangs up"));
        }
    }
    Ok(told)
}

fn outcome(rooms: &Rooms, append: &ClientAppend) -> Value {
    let nobody: Author = "nobody".parse().expect("an author");
    match rooms.append(append, &nobody) {
        ServerFrame::Appended(appended) => {
            let entry = json!({"slot": appended.slot, "id": appended.id, "committed_at": appended.committed_at});
            match appended.repeat {
                Some(repeat) => json!({"entry": entry, "repeat": repeat}),
                None => json!({"entry": entry}),
            }
        }
        ServerFrame::Error(error) => json!({"error": error}),
        other => panic!("no outcome: {other:?}"),
    }
}
