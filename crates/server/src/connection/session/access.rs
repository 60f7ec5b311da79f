//! Who a session is, and what it may do.
//!
//! ```text
//!  login ──► checked with the keys that are known ─────────────────────────► welcome, or an error
//!              └ of an unknown key: the keys are read again; no frame is read meanwhile ┘
//! ```
//!
//! Enters: `login` frames, the token of the handshake, revocations. Leaves: `welcome`, or why not; the end
//! of what a later token does not cover. Invariants: a session has one author, and a token brings no other
//! one; it ends when its token expires or is revoked.

use std::{sync::Arc, time::Duration};

use roomlog_auth::{Access, Right, TokenError};
use roomlog_core::budget::Charge;
use roomlog_protocol::{
    Author, ClientAppend, CloseCode, ErrorCode, Login, Refusal, RoomName, ServerFrame,
};

use super::{
    super::{socket::End, turn::Job},
    Session,
};
use crate::{
    auth::{
        caller::login,
        now_s,
        rights::{self, ACCESS_FACTOR, check_author, unauthorized},
    },
    gateway::{BUSY_PAUSE, holds_too_much},
};

/// What a login has led to so far.
#[derive(Default)]
pub(super) struct LoginState {
    /// The keys are being read for a token of this length.
    pending: Option<usize>,
    /// When the token expires.
    pub(super) ends_at: Option<std::time::Instant>,
    /// What the rights of the token take.
    _charge: Option<Charge>,
}

impl LoginState {
    /// Whether a token is being checked.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

impl Session {
    /// Takes a `login`.
    pub(super) fn login(&mut self, login: Login) {
        let Login { token, author, req } = login;
        let refuse = |code, message: &str| Refusal { req, ..Refusal::new(code, message) };
        let Some(tokens) = self.turn.gateway.config.tokens.clone() else {
            return match author.filter(|_| token.is_none()) {
                Some(author) => self.enter_open(author, req),
                None => {
                    let message = "this server is open: log in with `author` and no `token`";
                    self.turn.refuse(refuse(ErrorCode::BadMessage, message));
                }
            };
        };
        let Some(token) = token else {
            let message = "this server needs a token: log in with `token`";
            return self.turn.refuse(refuse(ErrorCode::Unauthorized, message));
        };
        let length = token.len();
        match tokens.check(&token) {
            Err(TokenError::UnknownKey) => {
                self.login.pending = Some(length);
                self.turn.jobs.push_front(Job::Login(req, token));
            }
            checked => self.take_checked(req, checked, length),
        }
    }

    /// Takes the result of a check with keys that were read again.
    pub(super) fn checked(
        &mut self,
        req: Option<i64>,
        checked: Result<(Author, Arc<Access>), TokenError>,
    ) {
        let length = self.login.pending.take().unwrap_or_default();
        self.take_checked(req, checked, length);
    }

    fn take_checked(
        &mut self,
        req: Option<i64>,
        checked: Result<(Author, Arc<Access>), TokenError>,
        length: usize,
    ) {
        let entered = match checked {
            Ok((author, access)) => self.enter(author, access, length),
            Err(error) => {
                self.turn.client.note_refused_login(&error);
                // Whoever tries tokens may not cost the others the time to check them.
                self.turn.pause(BUSY_PAUSE);
                Err(unauthorized(&error))
            }
        };
        if let Err(refusal) = entered {
            self.turn.refuse(Refusal { req, ..refusal });
        }
    }

    fn enter_open(&mut self, author: Author, req: Option<i64>) {
        if let Err(refusal) = self.check_same(&author, "") {
            return self.turn.refuse(Refusal { req, ..refusal });
        }
        if self.author.is_none() {
            self.turn.access = Arc::new(Access::open());
        }
        self.welcome(author);
    }

    /// Enters with a token that was checked and has `length` bytes; welcomes its author.
    pub(crate) fn enter(
        &mut self,
        author: Author,
        access: Arc<Access>,
        length: usize,
    ) -> Result<(), Refusal> {
        self.check_same(&author, access.namespace())?;
        let is_first = self.author.is_none();
        if is_first {
            let client = login(&self.turn.gateway, &self.turn.client, &author, &access)?;
            self.turn.charge_to(client);
        }
        let charge = self.turn.client.memory.charge(ACCESS_FACTOR * length);
        self.login._charge = Some(charge.ok_or_else(holds_too_much)?);
        let now = now_s();
        let ends_at = access.token.as_ref().map_or(u64::MAX, |token| token.ends_at(now));
        let left = Duration::from_secs(ends_at.saturating_sub(now));
        self.login.ends_at = self.turn.now.checked_add(left);
        self.turn.access = access;
        if !is_first {
            self.end_unreadable();
        }
        self.welcome(author);
        Ok(())
    }

    fn check_same(&self, author: &Author, namespace: &str) -> Result<(), Refusal> {
        let is_same = |first: &Author| first == author && self.turn.access.namespace() == namespace;
        if self.author.as_ref().is_none_or(is_same) {
            return Ok(());
        }
        let message = "this connection is logged in as another author; open a new one";
        Err(Refusal::new(ErrorCode::Forbidden, message))
    }

    fn welcome(&mut self, author: Author) {
        self.author = Some(author.clone());
        self.turn.client.presence.pending.done();
        self.turn.say(&ServerFrame::Welcome { author });
    }

    /// Ends what the token does not cover any more.
    fn end_unreadable(&mut self) {
        for key in self.turn.rooms.keys() {
            let Some(room) = self.turn.rooms.tail(key).map(|tail| tail.room().clone()) else {
                continue;
            };
            if self.follows.has(key) && !self.turn.access.may(&room, Right::Read) {
                self.follows.end(key);
                let message = "your new token may not read this room; following has ended";
                let refusal = Refusal::new(ErrorCode::Forbidden, message);
                self.turn.refuse(Refusal { room: Some(room), ..refusal });
                self.release(key);
            }
        }
        self.watch.list_again(&mut self.turn);
    }

    /// Whether the session may append this as this author.
    pub(super) fn check_append(
        &self,
        append: &ClientAppend,
        author: &Author,
    ) -> Result<(), Refusal> {
        let Some(own) = &self.author else { return Ok(()) };
        rights::check_append(&self.turn.access, &append.room)
            .and_then(|()| rights::check_redaction(&self.turn.access, append))
            .and_then(|()| check_author(&self.turn.access, own, author))
            .inspect_err(|_| self.turn.client.note_denied("append"))
    }

    /// The key of a room that the client names.
    pub(super) fn key(&self, named: &RoomName) -> Option<u32> {
        self.turn.rooms.key(&self.turn.access.room(named))
    }

    /// Something was revoked: ends the session if its token was.
    pub(crate) fn check_revoked(&self) -> Result<(), End> {
        let tokens = self.turn.gateway.config.tokens.as_ref();
        let is_revoked = tokens
            .zip(self.author.as_ref())
            .is_some_and(|(tokens, author)| tokens.is_revoked(author, &self.turn.access));
        if is_revoked {
            return Err(End::close(
                CloseCode::Policy,
                "the token was revoked; log in with a new one",
            ));
        }
        Ok(())
    }
}
