//! The frames of a client, one by one.
//!
//! Enters: WebSocket messages. Leaves: calls of the part that each concerns, or the end of the
//! connection. Invariants: what is wrong with one frame is answered and the connection goes on, but
//! for what is no JSON object at all; before a login only `login` and `ping` are done.

use roomlog_protocol::{
    ClientFrame, CloseCode, ErrorCode, Join, Login, Refusal, RoomName, ServerFrame,
    client::{Rejected, parse},
};
use tokio_websockets::Message;

use super::{Connection, End};
use crate::wire;

impl Connection {
    pub(super) fn take_frame(&mut self, message: &Message) -> Result<(), End> {
        if message.is_ping() {
            self.out.push(wire::pong_frame(message.as_payload()));
            return Ok(());
        }
        if message.is_close() {
            return Err(End::close(CloseCode::Normal, ""));
        }
        if message.is_binary() {
            let reason = "frames are text: one JSON object each";
            return Err(End::close(CloseCode::Unsupported, reason));
        }
        let Some(text) = message.as_text() else { return Ok(()) };
        match parse(text, &self.gateway.config.limits) {
            Ok(frame) => self.take_client_frame(frame),
            Err(Rejected::Malformed(problem)) => {
                return Err(End::close(CloseCode::NotJson, problem.to_string()));
            }
            Err(Rejected::Refused(refusal)) => self.refuse(*refusal),
            Err(Rejected::RefusedRead { room, refusal }) => self.refused_read(&room, refusal),
            Err(Rejected::RefusedAppend { place, refusal }) => match place {
                Some(_) if self.author.is_none() => {
                    let refusal = Refusal { seq: refusal.seq, ..login_required(*refusal) };
                    self.refuse_append(refusal);
                }
                Some((room, seq)) => self.refused_append(room, seq, &refusal),
                None => self.refuse_append(*refusal),
            },
        }
        Ok(())
    }

    fn take_client_frame(&mut self, frame: ClientFrame) {
        if self.author.is_none()
            && let Some(refusal) = needs_login(&frame)
        {
            let refusal = login_required(refusal);
            return match frame {
                ClientFrame::Append(_) => self.refuse_append(refusal),
                _ => self.refuse(refusal),
            };
        }
        match frame {
            ClientFrame::Login(login) => self.login(login),
            ClientFrame::Join(Join(update)) => self.read(update, true),
            ClientFrame::Leave { room, req } => self.leave(room, req),
            ClientFrame::Append(append) => self.append(append),
            ClientFrame::Update(update) => self.read(update, false),
            ClientFrame::Watch { req } => self.watch(req),
            ClientFrame::Ping { req } => self.say(&ServerFrame::Pong { req }),
        }
    }

    fn login(&mut self, login: Login) {
        let Login { token, author, req } = login;
        let refuse = |code, message: &str| Refusal { req, ..Refusal::new(code, message) };
        let Some(author) = author.filter(|_| token.is_none()) else {
            let message = "this server is open: log in with `author` and no `token`";
            return self.refuse(refuse(ErrorCode::BadMessage, message));
        };
        if self.author.as_ref().is_some_and(|first| *first != author) {
            let message = "this connection is logged in as another author; open a new one";
            return self.refuse(refuse(ErrorCode::Forbidden, message));
        }
        self.author = Some(author.clone());
        self.say(&ServerFrame::Welcome { author });
    }
}

/// What a frame needs a login for; `None` when it needs none.
fn needs_login(frame: &ClientFrame) -> Option<Refusal> {
    let refusal = |room: Option<&RoomName>, req: Option<i64>| Refusal {
        room: room.cloned(),
        req,
        ..Refusal::new(ErrorCode::LoginRequired, "")
    };
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

fn login_required(refusal: Refusal) -> Refusal {
    let message = "log in first: {\"type\":\"login\",\"author\":…}";
    Refusal { code: ErrorCode::LoginRequired, message: message.into(), ..refusal }
}
