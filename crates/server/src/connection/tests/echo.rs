//! A server that says back what it is sent, over the sockets and frames of a connection. `script/autobahn` runs
//! it beside a conformance suite.

use std::{env, net::SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use roomlog_core::budget::Account;
use roomlog_protocol::CloseCode;
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::either::Either;

use super::{
    frames::{Message, utf8},
    socket::{self, End, Out, Socket},
};
use crate::wire;

/// Where it listens for a conformance suite, until it is killed.
const ADDRESS: &str = "ROOMLOG_ECHO";

/// The largest message of the suite has 16 MiB.
const FRAME_BYTES: usize = 16 << 20;

/// The handshake, as far as the suite needs one.
async fn shake_hands(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, key) = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let accept = Sha1::new().chain_update(key).chain_update(crate::upgrade::MAGIC).finalize();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accept)
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

/// Queues what is said back.
fn say_back(message: Message, out: &mut Out) -> Result<(), End> {
    match message {
        Message::Text(text) => {
            utf8(&text).map_err(|bad| socket::end_of(&bad.into()))?;
            out.push(wire::websocket_frame(0x81, &[&text]));
        }
        Message::Binary(bytes) => out.push(wire::websocket_frame(0x82, &[&bytes])),
        Message::Ping(payload) => out.push(wire::pong_frame(&payload)),
        Message::Pong(_) => {}
        Message::Close(_) => return Err(End::close(CloseCode::Normal, "")),
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) -> Option<()> {
    shake_hands(&mut stream).await?;
    let account = Account::budget(64 << 20);
    let stream = Either::Left(stream);
    let (mut socket, write) = Socket::new(stream, Bytes::new(), FRAME_BYTES, &account);
    let mut out = Out::default();
    let End(close) = loop {
        let taken = match socket.next().await {
            None => break End::GONE,
            Some(Err(failure)) => Err(socket::end_of(&failure)),
            Some(Ok(message)) => say_back(message, &mut out),
        };
        if let Err(end) = taken.and_then(|()| socket.keep().map_err(|why| socket::end_of(&why))) {
            break end;
        }
        while out.write(&write).ok()? {
            write.writable().await.ok()?;
        }
    };
    socket::finish(socket, write, out, close).await;
    Some(())
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(echo(stream));
    }
}

/// Frames of a client are masked; a mask of zeros changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    [&[first, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
}

#[tokio::test]
async fn what_is_sent_comes_back_in_order() {
    if let Ok(address) = env::var(ADDRESS) {
        let address: SocketAddr = address.parse().expect("an address");
        return serve(TcpListener::bind(address).await.expect("the address is free")).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener));
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = "GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    let frames = [
        masked(0x01, b"in "),
        masked(0x89, b"between"),
        masked(0x80, b"pieces"),
        masked(0x82, &[0xff]),
        masked(0x88, &[]),
    ];
    stream.write_all(&frames.concat()).await.expect("frames");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answers");
    let (head, frames) = answer.split_at(answer.len() - (2 + 7 + 2 + 9 + 2 + 1 + 2 + 2));
    // The example of RFC 6455, 1.3.
    let head = std::str::from_utf8(head).expect("a head");
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let expected =
        [&b"\x8a\x07between"[..], b"\x81\x09in pieces", b"\x82\x01\xff", b"\x88\x02\x03\xe8"];
    assert_eq!(frames, expected.concat());
}
