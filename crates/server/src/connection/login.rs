//! What a connection may do before its login.

use roomlog_protocol::{ClientFrame, ErrorCode, Join, Refusal, RoomName};

/// The refusal of a frame that needs a login; `None` if it needs none.
pub(super) fn needs_login(frame: &ClientFrame) -> Option<Refusal> {
    let refusal = |room: Option<&RoomName>, req: Option<i64>| Refusal {
        room: room.cloned(),
        req,
        ..Refusal::new(ErrorCode::LoginRequired, "")
    };
    Some(login_required(match frame {
        ClientFrame::Login(_) | ClientFrame::Ping { .. } => return None,
        ClientFrame::Join(Join(update)) | ClientFrame::Update(update) => {
            refusal(Some(&update.room), update.req)
        }
        ClientFrame::Leave { room, req } => refusal(Some(room), *req),
        ClientFrame::Watch { req } => refusal(None, *req),
        ClientFrame::Append(append) => Refusal {
            id: append.id.clone(),
            seq: append.seq,
            ..refusal(Some(&append.room), append.req)
        },
    }))
}

pub(super) fn login_required(refusal: Refusal) -> Refusal {
    let message = "log in first: {\"type\":\"login\",\"author\":…}";
    Refusal { code: ErrorCode::LoginRequired, message: message.into(), ..refusal }
}
