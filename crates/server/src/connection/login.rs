//! What a client gets before its login.
//!
//! Enters: a frame. Leaves: its refusal. Invariant: only `login` and `ping` need none; the refusal
//! names what could be read of the frame.

use roomlog_protocol::{ClientFrame, ErrorCode, Join, Refusal, RoomName};

/// The refusal of a frame that needs a login; `None` if it needs none.
pub(super) fn needs_login(frame: &ClientFrame) -> Option<Refusal> {
    let refusal =
        |room: Option<&RoomName>, req| Refusal { room: room.cloned(), req, ..login_required() };
    Some(match frame {
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
    })
}

pub(super) fn login_required() -> Refusal {
    let message = "log in first: {\"type\":\"login\",\"author\":…}, or \"token\" where `hello.auth` is `token`";
    Refusal::new(ErrorCode::LoginRequired, message)
}
