//! Who sends a request, and whether it may do what it asks.
//!
//! Enters: what a token gives, and what is asked. Leaves: nothing, or the refusal. Invariant: a refusal for
//! want of a right is the same whether the room exists or not.

use std::sync::Arc;

use parking_lot::Mutex;
use roomlog_auth::{Access, Right, TokenError};
use roomlog_core::budget::Charge;
use roomlog_protocol::{Author, ClientAppend, ErrorCode, Kind, Refusal, RoomName};

use crate::{principals::Client, wire::not_found};

/// How much of memory the rights of a token take for each of its bytes: names in maps of their own.
pub(crate) const ACCESS_FACTOR: usize = 8;

/// Who sends a request.
#[derive(Clone)]
pub(crate) struct Caller {
    /// `None` on an open server, where each append names its own.
    pub(crate) author: Option<Author>,
    pub(crate) access: Arc<Access>,
    /// Who is charged.
    pub(crate) client: Client,
}

/// A caller whose token was checked, and the hash of that token.
pub(crate) struct CheckedCaller {
    pub(super) token: [u8; 32],
    pub(super) caller: Caller,
    pub(super) _charge: Charge,
}

/// The caller of a connection's last request.
pub(crate) type LastCaller = Mutex<Option<CheckedCaller>>;

impl Caller {
    /// Anyone, on an open server.
    pub(crate) fn open(client: Client) -> Self {
        Self { author: None, access: Arc::new(Access::open()), client }
    }

    /// Fails with `not_found` if it may not read the room: to it, there is none.
    pub(crate) fn check_read(&self, room: &RoomName) -> Result<(), Refusal> {
        let checked =
            check_read(&self.access, room).inspect_err(|_| self.client.note_denied("read"));
        checked.map_err(|refusal| Refusal { room: Some(room.clone()), ..refusal })
    }

    /// The author of an append that names this one. Fails with `login_required` if none is named on an
    /// open server, or `forbidden` if it may not write as that one.
    pub(crate) fn author_of(&self, named: Option<&Author>) -> Result<Author, Refusal> {
        match (&self.author, named) {
            (None, Some(named)) => Ok(named.clone()),
            (None, None) => {
                let message = "`author` is missing: an open server requires one";
                Err(Refusal::new(ErrorCode::LoginRequired, message))
            }
            (Some(author), None) => Ok(author.clone()),
            (Some(author), Some(named)) => {
                check_author(&self.access, author, named)
                    .inspect_err(|_| self.client.note_denied("author"))?;
                Ok(named.clone())
            }
        }
    }

    /// Fails with `forbidden` if it may not append to the room.
    pub(crate) fn check_append(&self, room: &RoomName) -> Result<(), Refusal> {
        check_append(&self.access, room).inspect_err(|_| self.client.note_denied("append"))
    }

    /// Fails with `forbidden` if it is a redaction and the caller may not read the room.
    pub(crate) fn check_redaction(&self, append: &ClientAppend) -> Result<(), Refusal> {
        check_redaction(&self.access, append).inspect_err(|_| self.client.note_denied("redact"))
    }
}

pub(crate) fn check_read(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    if access.may(room, Right::Read) {
        return Ok(());
    }
    Err(not_found("there is no such room, or your token may not read it"))
}

pub(crate) fn check_append(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    forbid_unless(access.may(room, Right::Append), "your token may not append to this room")
}

/// For a redaction: its refusals tell who wrote an entry.
pub(crate) fn check_redaction(access: &Access, append: &ClientAppend) -> Result<(), Refusal> {
    let may = append.kind.as_str() != Kind::REDACT || access.may(&append.room, Right::Read);
    forbid_unless(may, "your token may not read this room, so it may not redact in it")
}

/// Whether an append of this kind may remove texts of others in the room. On an open server none may: what
/// an author wrote, whoever gives that name may remove.
pub(crate) fn may_remove(access: &Access, kind: &Kind, room: &RoomName) -> bool {
    let right = match kind.as_str() {
        Kind::REDACT => Right::Redact,
        Kind::ERASE => Right::Admin,
        _ => return false,
    };
    access.token.is_some() && access.may(room, right)
}

/// For an erasure of what others wrote.
pub(crate) fn check_erase(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    if access.token.is_none() {
        let message =
            "on an open server only its operator may erase what others wrote: `roomlog erase`";
        return Err(Refusal::new(ErrorCode::Forbidden, message));
    }
    let message = "only a token with the right `admin` may erase what others wrote";
    forbid_unless(access.may(room, Right::Admin), message)
}

/// For an append to a room without entries.
pub(crate) fn check_create(access: &Access, room: &RoomName) -> Result<(), Refusal> {
    let message = "this room has no entry, and your token may not create it";
    forbid_unless(access.may(room, Right::Create), message)
}

pub(crate) fn check_author(
    access: &Access,
    author: &Author,
    as_author: &Author,
) -> Result<(), Refusal> {
    let message = "your token may not write as this author";
    forbid_unless(access.may_speak_for(author, as_author), message)
}

fn forbid_unless(may: bool, message: &str) -> Result<(), Refusal> {
    if may { Ok(()) } else { Err(Refusal::new(ErrorCode::Forbidden, message)) }
}

/// The refusal of a login.
pub(crate) fn unauthorized(error: &TokenError) -> Refusal {
    Refusal::new(ErrorCode::Unauthorized, error.to_string())
}
