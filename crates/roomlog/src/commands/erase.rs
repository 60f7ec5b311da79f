//! `roomlog erase`: erases the texts of rooms, through the operators' door of a server.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::operators::Operators;
use crate::{cli::EraseArgs, failure::Failure, stderr::message};

/// The answer to one request.
#[derive(Deserialize)]
struct Erased {
    erased: u64,
    next: Option<Cursor>,
}

/// Where the next request continues.
#[derive(Deserialize, Serialize)]
struct Cursor {
    room: String,
    slot: u64,
}

pub(crate) async fn run(args: EraseArgs) -> Result<(), Failure> {
    let mut operators = Operators::reach(&args.door).await?;
    let (mut erased, mut after) = (0, None::<Cursor>);
    loop {
        let mut asked = json!({"rooms": args.rooms});
        if let Some(author) = &args.author {
            asked["author"] = json!(author);
        }
        if let Some(after) = &after {
            asked["after"] = json!(after);
        }
        let body = Bytes::from(asked.to_string());
        let answer = operators.send(Method::POST, "/v1/erase", body).await?;
        if answer.status() != StatusCode::OK {
            let refusal = operators.refusal(answer).await;
            if erased > 0 {
                message!("erased {} before this; run it again to continue", texts(erased));
            }
            return Err(refusal);
        }
        let body = answer.into_body().collect().await.map_err(Failure::other)?.to_bytes();
        let part: Erased = serde_json::from_slice(&body).map_err(Failure::other)?;
        erased += part.erased;
        let Some(next) = part.next else { break };
        message!("erased {}; now in room {}", texts(erased), next.room);
        after = Some(next);
    }
    message!("erased {}", texts(erased));
    Ok(())
}

fn texts(count: u64) -> String {
    if count == 1 { "1 text".into() } else { format!("{count} texts") }
}
