//! Frames from a client, parsed and checked for form on input.
//!
//! Enters: the JSON of a frame. Leaves: a [`ClientFrame`], or a refusal that identifies the frame.
//! Invariant: a parsed frame has the form and size that the protocol and the server's [`Limits`]
//! allow; what depends on the log (`ref`, `expect`, rights) is checked elsewhere.

use std::borrow::Cow;

use serde::{Serialize, ser::SerializeMap};

use crate::{
    Author, Body, Digest, EntryId, ErrorCode, Kind, Latest, Limits, NameError, Refusal, RoomName,
    Slot,
    limits::{DEFAULT_COUNT, MAX_INTEGER},
    object::{Malformed, Member, MemberError, Object},
    removal::check_removal,
};

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientFrame {
    /// Log in.
    Login(Login),
    /// Follow a room.
    Join(Join),
    /// Stop following a room.
    Leave {
        /// The room.
        room: RoomName,
        /// Echoed in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
    /// Append an entry.
    Append(Box<ClientAppend>),
    /// Read.
    Update(ClientUpdate),
    /// Watch the heads of all rooms.
    Watch {
        /// Echoed in the `heads` frames of the first list.
        #[serde(skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
    /// Check the connection.
    Ping {
        /// Echoed in the `pong`.
        #[serde(skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
}

impl ClientFrame {
    /// The room that it names.
    pub fn room_mut(&mut self) -> Option<&mut RoomName> {
        match self {
            Self::Join(Join(update)) | Self::Update(update) => Some(&mut update.room),
            Self::Leave { room, .. } => Some(room),
            Self::Append(append) => Some(&mut append.room),
            Self::Login(_) | Self::Watch { .. } | Self::Ping { .. } => None,
        }
    }
}

/// `login`: a token or, on an open server, an author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    /// A token that names the author and the rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The author, on an open server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Echoed in an error; `welcome` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

/// `append`: a new entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientAppend {
    /// The room.
    pub room: RoomName,
    /// The text.
    pub body: Body,
    /// The id of the append; the server generates a missing one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<EntryId>,
    /// The number of this append among the connection's appends to the room, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The last slot that the author had seen; −1: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Latest>,
    /// The slot that the entry must get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Slot>,
    /// The kind of entry.
    #[serde(skip_serializing_if = "Kind::is_text")]
    pub kind: Kind,
    /// An earlier slot that this is about.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Slot>,
    /// Text for clients that the server does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<String>,
    /// The author's clock, in ms since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<u64>,
    /// Another author, if the connection may append for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Echoed in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

impl ClientAppend {
    /// An append of a text; everything else is unset.
    #[must_use]
    pub fn new(room: RoomName, body: impl Into<Body>) -> Self {
        Self {
            room,
            body: body.into(),
            id: None,
            seq: None,
            after: None,
            expect: None,
            kind: Kind::default(),
            reference: None,
            meta: None,
            sent_at: None,
            author: None,
            req: None,
        }
    }
}

/// Which slots to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The `count` slots that end at `upto`, inclusive.
    UpTo {
        /// How many.
        count: u64,
        /// The last one; `None`, or −1 on the wire: the latest.
        upto: Option<Slot>,
    },
    /// All after this slot; −1: all.
    After(Latest),
}

/// `update`: a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientUpdate {
    /// The room.
    pub room: RoomName,
    /// Which slots.
    pub span: Span,
    /// A slot that the answering log must have reached; `after` implies it.
    pub seen: Option<Latest>,
    /// The client's digest after slot `after`.
    pub digest: Option<Digest>,
    /// Echoed in the answer.
    pub req: Option<i64>,
}

/// `join`: a [`ClientUpdate`] that continues with every later entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Join(pub ClientUpdate);

impl Serialize for ClientUpdate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("room", &self.room)?;
        match self.span {
            Span::UpTo { count, upto } => {
                map.serialize_entry("count", &count)?;
                if let Some(upto) = upto {
                    map.serialize_entry("upto", &upto)?;
                }
            }
            Span::After(after) => map.serialize_entry("after", &after)?,
        }
        if let Some(seen) = self.seen {
            map.serialize_entry("seen", &seen)?;
        }
        if let Some(digest) = self.digest {
            map.serialize_entry("digest", &digest)?;
        }
        if let Some(req) = self.req {
            map.serialize_entry("req", &req)?;
        }
        map.end()
    }
}

/// What is wrong with a client's frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// Not a JSON object: close the connection with 4400.
    Malformed(Malformed),
    /// Answer with an `error` and go on.
    Refused(Box<Refusal>),
    /// As `Refused`, for a `join`, `leave` or `update` with a valid room: the answer keeps its
    /// order among that room's answers.
    RefusedRead {
        /// The room.
        room: RoomName,
        /// The answer.
        refusal: Box<Refusal>,
    },
    /// As `Refused`, for an `append`. With a valid room and `seq`, it consumes that `seq`.
    RefusedAppend {
        /// The room and the consumed `seq`.
        place: Option<(RoomName, u64)>,
        /// The answer.
        refusal: Box<Refusal>,
    },
}

/// Parses the JSON of a frame.
///
/// # Errors
/// [`Rejected`]: it is malformed, or has a missing, unknown or invalid member.
pub fn parse(text: &str, limits: &Limits) -> Result<ClientFrame, Rejected> {
    let object = Object::parse(text).map_err(Rejected::Malformed)?;
    let reader = Reader { object: &object, limits, default_room: None };
    let kind = match object.text(Member::Type) {
        Ok(Some(kind)) => kind,
        Ok(None) => return Err(reader.refused(bad("`type` is missing"))),
        Err(error) => return Err(reader.refused(error.into())),
    };
    let frame = match &*kind {
        "login" => reader.login().map(ClientFrame::Login),
        "join" => reader.update(false).map(|update| ClientFrame::Join(Join(update))),
        "leave" => reader.leave(),
        "append" => return reader.append_frame(),
        "update" => reader.update(true).map(ClientFrame::Update),
        "watch" => reader.req().map(|req| ClientFrame::Watch { req }),
        "ping" => reader.req().map(|req| ClientFrame::Ping { req }),
        _ => Err(bad("`type` is none of login, join, leave, append, update, watch, ping")),
    };
    frame.map_err(|wrong| match (&*kind, reader.refused(wrong)) {
        ("join" | "leave" | "update", Rejected::Refused(refusal)) => match refusal.room.clone() {
            Some(room) => Rejected::RefusedRead { room, refusal },
            None => Rejected::Refused(refusal),
        },
        (_, refused) => refused,
    })
}

/// Reads an `append` from a bare object (HTTP), into `room` if it names none, or returns the refusal.
pub fn parse_append(
    object: &Object<'_>,
    room: &RoomName,
    limits: &Limits,
) -> Result<ClientAppend, Box<Refusal>> {
    let reader = Reader { object, limits, default_room: Some(room) };
    reader.append().map_err(|wrong| reader.refusal(wrong))
}

/// Reads an `update` from a bare object (HTTP), or returns the refusal.
pub fn parse_update(object: &Object<'_>, limits: &Limits) -> Result<ClientUpdate, Box<Refusal>> {
    let reader = Reader { object, limits, default_room: None };
    reader.update(true).map_err(|wrong| reader.refusal(wrong))
}

/// A refusal without the members that identify the frame.
struct Wrong(ErrorCode, String);

impl From<MemberError> for Wrong {
    fn from(error: MemberError) -> Self {
        bad(error.0)
    }
}

impl From<NameError> for Wrong {
    fn from(error: NameError) -> Self {
        Self(ErrorCode::BadName, error.to_string())
    }
}

fn bad(message: impl Into<String>) -> Wrong {
    Wrong(ErrorCode::BadMessage, message.into())
}

fn missing(name: &str) -> Wrong {
    bad(format!("`{name}` is missing"))
}

struct Reader<'a> {
    object: &'a Object<'a>,
    limits: &'a Limits,
    default_room: Option<&'a RoomName>,
}

impl Reader<'_> {
    fn refusal(&self, Wrong(code, message): Wrong) -> Box<Refusal> {
        Box::new(Refusal {
            room: self.room().ok(),
            id: self.id().ok().flatten(),
            seq: self.object.natural(Member::Seq).ok().flatten(),
            req: self.req().ok().flatten(),
            ..Refusal::new(code, message)
        })
    }

    fn refused(&self, wrong: Wrong) -> Rejected {
        let mut refusal = self.refusal(wrong);
        refusal.seq = None;
        Rejected::Refused(refusal)
    }

    fn append_frame(&self) -> Result<ClientFrame, Rejected> {
        let wrong = match self.append() {
            Ok(append) => return Ok(ClientFrame::Append(Box::new(append))),
            Err(wrong) => wrong,
        };
        let mut refusal = self.refusal(wrong);
        let place = refusal.room.clone().zip(refusal.seq);
        if place.is_none() {
            refusal.seq = None;
        }
        Err(Rejected::RefusedAppend { place, refusal })
    }

    fn name<T>(
        &self,
        member: Member,
        make: fn(&str) -> Result<T, NameError>,
        most: usize,
    ) -> Result<Option<T>, Wrong> {
        let text = self.sized(member, most, ErrorCode::BadName)?;
        Ok(text.map(|text| make(&text)).transpose()?)
    }

    fn text(&self, member: Member, most: usize) -> Result<Option<Cow<'_, str>>, Wrong> {
        self.sized(member, most, ErrorCode::TooLarge)
    }

    fn sized(
        &self,
        member: Member,
        most: usize,
        code: ErrorCode,
    ) -> Result<Option<Cow<'_, str>>, Wrong> {
        let text = self.object.text(member)?;
        match text.as_ref().map_or(0, |text| text.len()) {
            bytes if bytes > most => {
                Err(Wrong(code, format!("{} has {bytes} bytes, more than {most}", member.name())))
            }
            _ => Ok(text),
        }
    }

    fn room(&self) -> Result<RoomName, Wrong> {
        self.name(Member::Room, RoomName::new, self.limits.room_bytes)?
            .or_else(|| self.default_room.cloned())
            .ok_or_else(|| missing("room"))
    }

    fn id(&self) -> Result<Option<EntryId>, Wrong> {
        self.name(Member::Id, EntryId::new, self.limits.id_bytes)
    }

    fn author(&self) -> Result<Option<Author>, Wrong> {
        self.name(Member::Author, Author::new, self.limits.author_bytes)
    }

    fn req(&self) -> Result<Option<i64>, Wrong> {
        Ok(self.object.integer(Member::Req, -MAX_INTEGER)?)
    }

    fn login(&self) -> Result<Login, Wrong> {
        let token = self.object.text(Member::Token)?.map(Cow::into_owned);
        let login = Login { token, author: self.author()?, req: self.req()? };
        if login.token.is_none() && login.author.is_none() {
            return Err(bad("`login` needs `token`, or `author` on an open server"));
        }
        Ok(login)
    }

    fn leave(&self) -> Result<ClientFrame, Wrong> {
        Ok(ClientFrame::Leave { room: self.room()?, req: self.req()? })
    }

    fn append(&self) -> Result<ClientAppend, Wrong> {
        let (room, req) = (self.room()?, self.req()?);
        let kind = self.name(Member::Kind, Kind::new, self.limits.kind_bytes)?.unwrap_or_default();
        let append = ClientAppend {
            room,
            id: self.id()?,
            seq: self.object.natural(Member::Seq)?,
            after: self.object.latest(Member::After)?,
            expect: self.object.natural(Member::Expect)?,
            kind,
            reference: self.object.natural(Member::Ref)?,
            meta: self.text(Member::Meta, self.limits.meta_bytes)?.map(Cow::into_owned),
            sent_at: self.object.natural(Member::SentAt)?,
            author: self.author()?,
            body: self
                .text(Member::Body, self.limits.body_bytes)?
                .ok_or_else(|| missing("body"))?
                .into(),
            req,
        };
        let ClientAppend { kind, reference, body, meta, .. } = &append;
        check_removal((kind, *reference), body, meta.as_deref())
            .map_err(|(code, message)| Wrong(code, message))?;
        Ok(append)
    }

    /// `update`, or without `upto` a `join`.
    fn update(&self, with_upto: bool) -> Result<ClientUpdate, Wrong> {
        let (room, req) = (self.room()?, self.req()?);
        let count = self.object.natural(Member::Count)?;
        let upto = if with_upto { self.object.latest(Member::Upto)? } else { None };
        let after = self.object.latest(Member::After)?;
        let digest = self.object.text(Member::Digest)?;
        let span = match (after, count, upto) {
            (None, ..) if digest.is_some() => return Err(bad("`digest` needs `after`")),
            (None, count, upto) => Span::UpTo {
                count: count.unwrap_or(DEFAULT_COUNT),
                upto: upto.and_then(Latest::slot),
            },
            (Some(after), None, None) => Span::After(after),
            _ => return Err(bad("`after` cannot be combined with `count` or `upto`")),
        };
        let digest = digest
            .map(|hex| {
                Digest::from_hex(&hex)
                    .ok_or_else(|| bad("`digest` must be 64 characters of lower-case hex"))
            })
            .transpose()?;
        let seen = self.object.latest(Member::Seen)?;
        Ok(ClientUpdate { room, span, seen, digest, req })
    }
}
