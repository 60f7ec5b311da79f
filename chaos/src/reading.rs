//! Reads a node's complete log over the wire, at the end of a run.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use roomlog_checker::NodeLog;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// The timeout of a page, in which a node may also catch up.
const PAGE_WITHIN: Duration = Duration::from_secs(20);

/// Reads these rooms completely. The node must have reached the slot that writers saw in each.
pub(crate) async fn read(
    node: &str,
    address: SocketAddr,
    rooms: &[(String, i64)],
) -> Result<NodeLog, String> {
    let url = format!("ws://{address}/v1/ws");
    let opened = timeout(PAGE_WITHIN, connect_async(&url)).await;
    let (mut socket, _) = opened
        .map_err(|_| format!("{node} does not answer"))?
        .map_err(|why| format!("{node}: {why}"))?;
    let login = json!({ "type": "login", "author": "reader" }).to_string();
    socket.send(Message::text(login)).await.map_err(|why| why.to_string())?;
    let mut replies = Vec::new();
    for (room, seen) in rooms {
        let mut last = -1;
        loop {
            let ask = json!({ "type": "update", "room": room, "after": last, "seen": seen });
            socket.send(Message::text(ask.to_string())).await.map_err(|why| why.to_string())?;
            let (text, value) = loop {
                let frame = timeout(PAGE_WITHIN, socket.next()).await;
                let frame = frame.map_err(|_| format!("{node}: timeout of a page of {room}"))?;
                let frame = frame.ok_or("it closed")?.map_err(|why| why.to_string())?;
                let Message::Text(text) = frame else { continue };
                let value: Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
                match value["type"].as_str() {
                    Some("reply") => break (text.to_string(), value),
                    Some("error") => return Err(format!("{node}: {text}")),
                    _ => {}
                }
            };
            replies.push(text);
            let end =
                value["entries"].as_array().and_then(|entries| entries.last()?["slot"].as_i64());
            last = end.unwrap_or(last);
            if value["latest"].as_i64().is_none_or(|latest| last >= latest) {
                break;
            }
        }
    }
    Ok(NodeLog { node: node.into(), replies })
}
