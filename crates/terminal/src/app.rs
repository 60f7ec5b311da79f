//! The state of the chat, without I/O.
//!
//! Enters: news of the client, keys, the time. Leaves: requests, and rows to draw. Invariant: a
//! sent message is in `unsent` until it is committed, and stays there if it is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use jiff::tz::TimeZone;
use ratatui::text::Line;
use roomlog_client::{
    AppendError, ClientError, Followed, Outcome, Reset, State,
    protocol::{Author, ClientAppend, EntryId, Latest, Limits, Reply, RoomName, Span},
};

use crate::{
    composer::Composer,
    help::Help,
    limits::{NEAR, PAGE, SLOW},
    line::{Columns, Timeline},
    link::{News, Opening, Request},
    marks::Marks,
    rooms::Rooms,
    shown::Annotations,
    view::{Place, View},
    window::{End, Window},
};

/// A message without an answer, or refused.
pub(crate) struct Unsent {
    pub(crate) append: ClientAppend,
    /// The log of its slots.
    pub(crate) log: String,
    pub(crate) since: Instant,
    pub(crate) failed: Option<AppendError>,
}

#[derive(Clone, Copy)]
enum Wanted {
    More(End),
    Around { slot: u64, upto: u64 },
}

pub(crate) struct App {
    pub(crate) me: Author,
    pub(crate) server: String,
    limits: Limits,
    zone: TimeZone,
    pub(crate) rooms: Rooms,
    pub(crate) window: Window,
    pub(crate) annotations: Annotations,
    pub(crate) view: View,
    pub(crate) composer: Composer,
    drafts: BTreeMap<RoomName, String>,
    pub(crate) unsent: Vec<Unsent>,
    pub(crate) state: State,
    /// Shown until the next key.
    pub(crate) notice: Option<String>,
    /// Why the room's entries do not come.
    pub(crate) waiting: Option<String>,
    /// Why the room cannot be followed.
    pub(crate) refused: Option<String>,
    /// Why the client gave up.
    pub(crate) ended: Option<String>,
    pub(crate) help: Option<Help>,
    pub(crate) is_over: bool,
    /// Whether the user was warned that quitting loses something.
    pub(crate) warned: bool,
    opening: Opening,
    /// The log of the window.
    pub(crate) log: String,
    page: Option<Wanted>,
    /// Whether a room that is not open is being read for its authors.
    is_peeking: bool,
    /// The number of the last requested page.
    page_number: u64,
    /// The end that grew when the other one was evicted. The other one is not requested again
    /// before the next key: on a screen larger than the window the two would alternate for ever.
    grown: Option<End>,
    /// The slot to show once the requested page arrives.
    goal: Option<u64>,
    /// A page was refused: the next is requested after a key.
    is_refused: bool,
    /// The first slot that was unread when the room was opened.
    pub(crate) new: Option<u64>,
    pub(crate) selected: Option<u64>,
    pub(crate) expanded: BTreeSet<u64>,
    pub(crate) requests: Vec<Request>,
}

impl App {
    pub(crate) fn new(
        (me, server): (Author, String),
        (log, limits): (String, Limits),
        (room, marks): (RoomName, Marks),
    ) -> Self {
        let mut app = Self {
            me,
            server,
            limits,
            zone: TimeZone::system(),
            rooms: Rooms::new(log.clone(), marks, room.clone()),
            window: Window::new(),
            annotations: Annotations::default(),
            view: View::new(),
            composer: Composer::new(),
            drafts: BTreeMap::new(),
            unsent: Vec::new(),
            state: State::Connected,
            notice: None,
            waiting: None,
            refused: None,
            ended: None,
            help: None,
            is_over: false,
            warned: false,
            opening: 0,
            log,
            page: None,
            is_peeking: false,
            page_number: 0,
            goal: None,
            grown: None,
            is_refused: false,
            new: None,
            selected: None,
            expanded: BTreeSet::new(),
            requests: Vec::new(),
        };
        app.enter(room);
        app
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.limits.body_bytes
    }

    pub(crate) fn news(&mut self, news: News) {
        match news {
            News::Followed(opening, log, followed) if opening == self.opening => {
                self.followed(log, followed);
            }
            News::NotFollowed(opening, error) if opening == self.opening => {
                self.refused = Some(error.to_string());
            }
            News::Page(number, page) if number == self.page_number => match page {
                Ok(reply) => self.read(reply),
                Err(error) => {
                    (self.page, self.goal) = (None, None);
                    self.is_refused = true;
                    self.notice = Some(format!("These messages cannot be read: {error}"));
                }
            },
            News::Followed(..) | News::NotFollowed(..) | News::Page(..) => {}
            News::Heads(log, heads) => {
                self.rooms.moved(&log, heads);
                self.peek();
            }
            News::Peeked(log, room, page) => self.peeked(&log, &room, page),
            News::State(state) => self.state = state,
            News::Answered(id, outcome) => self.answered(&id, outcome),
            News::Ended(error) => {
                self.ended = Some(error.to_string());
            }
        }
    }

    /// Opens another room; the draft stays with the current one.
    pub(crate) fn switch(&mut self, room: RoomName) {
        let draft = self.composer.take();
        self.drafts.insert(self.rooms.open().clone(), draft);
        self.drafts.retain(|_, draft| !draft.trim().is_empty());
        self.composer.set(&self.drafts.remove(&room).unwrap_or_default());
        self.enter(room);
    }

    /// Jumps to the newest entry and stays there.
    pub(crate) fn back_to_now(&mut self) {
        self.cancel_page();
        if self.window.is_live() {
            self.view.place = Place::End;
        } else {
            self.enter(self.rooms.open().clone());
        }
        self.selected = None;
    }

    fn enter(&mut self, room: RoomName) {
        self.rooms.opened(room.clone());
        self.peek();
        self.new = self.rooms.mark_of_open().map(|mark| Latest(mark).end());
        self.opening += 1;
        self.clear();
        (self.waiting, self.refused) = (None, None);
        self.requests.push(Request::Open(self.opening, room));
    }

    fn clear(&mut self) {
        (self.window, self.annotations, self.view) =
            (Window::new(), Annotations::default(), View::new());
        self.cancel_page();
        self.selected = None;
        self.expanded.clear();
    }

    fn cancel_page(&mut self) {
        (self.page, self.goal) = (None, None);
        self.page_number += 1;
    }

    fn followed(&mut self, log: String, followed: Followed) {
        match followed {
            Followed::Entries(entries) => {
                self.waiting = None;
                if self.window.last().is_none() {
                    self.rooms.use_log(&log);
                    self.log = log;
                }
                self.annotations.take(&entries);
                self.window.followed(&entries, self.view.place != Place::End);
                self.moved();
            }
            Followed::Reset(why) => {
                self.clear();
                self.rooms.use_log(&log);
                (self.log, self.new) = (log, None);
                let why = match why {
                    Reset::NewLog => "The server has another log now: it was restored or replaced.",
                    Reset::Diverged => "The server's log differs from what was shown.",
                };
                self.notice = Some(format!("{why} These are its messages."));
            }
            Followed::Waiting(why) => self.waiting = Some(why),
        }
    }

    fn read(&mut self, reply: Reply) {
        let Some(wanted) = self.page.take() else { return };
        self.annotations.take(&reply.entries);
        match wanted {
            Wanted::More(end) => {
                if self.window.page(reply.entries, end) {
                    self.grown = Some(end);
                }
            }
            Wanted::Around { slot, upto } => {
                let is_clipped = reply.entries.first().is_some_and(|first| first.slot > slot);
                if is_clipped && upto != slot {
                    // The server sends the newest that fit a page.
                    return self.request_around(slot, slot);
                }
                self.window.replace(reply.entries);
                self.view.place = Place::Around(slot);
            }
        }
        self.moved();
    }

    /// After the window moved: evicts annotations, and tries to reach the goal.
    fn moved(&mut self) {
        if let (Some(first), Some(last)) = (self.window.first(), self.window.last()) {
            self.annotations.trim(first..=last);
        }
        if self.page.is_none()
            && let Some(slot) = self.goal.take()
        {
            self.show(slot);
        }
    }

    fn answered(&mut self, id: &EntryId, outcome: Outcome) {
        let Some(at) = self.unsent.iter().position(|it| it.append.id.as_ref() == Some(id)) else {
            return;
        };
        match outcome {
            Ok(_) => {
                self.unsent.remove(at);
            }
            Err(error) => self.unsent[at].failed = Some(error),
        }
    }

    /// Rejects a slot that the room has not reached, as far as is known.
    pub(crate) fn check_slot(&self, slot: u64) -> Result<(), String> {
        match self.window.latest() {
            latest if latest >= 0 && slot > latest.unsigned_abs() => {
                Err(format!("There is no slot {slot} yet; the latest is {latest}."))
            }
            _ => Ok(()),
        }
    }

    /// Scrolls to a slot, now or once it is loaded.
    pub(crate) fn show(&mut self, slot: u64) {
        if self.window.get(slot).is_some() {
            self.view.place = Place::Around(slot);
        } else if self.page.is_some() || self.window.last().is_none() {
            self.goal = Some(slot);
        } else {
            let upto = slot.saturating_add(PAGE / 2).min(self.window.latest().unsigned_abs());
            self.request_around(slot, upto);
        }
    }

    fn request_around(&mut self, slot: u64, upto: u64) {
        let span = Span::UpTo { count: PAGE, upto: Some(upto) };
        self.request_page(Wanted::Around { slot, upto }, span);
    }

    /// The rows of the room in an area of this size. Requests more entries near an end.
    pub(crate) fn timeline(&mut self, width: usize, height: usize) -> Vec<Line<'static>> {
        let timeline = Timeline {
            window: &self.window,
            annotations: &self.annotations,
            zone: &self.zone,
            columns: Columns::new(width, self.window.latest()),
            new: self.new,
            me: &self.me,
            selected: self.selected,
            expanded: &self.expanded,
        };
        let seen = self.view.settle(&timeline, height);
        if self.view.place == Place::End {
            self.rooms.seen(self.window.latest());
        }
        if let Some(slots) = seen.slots {
            self.want(slots);
        }
        seen.lines
    }

    fn want(&mut self, (top, bottom): (u64, u64)) {
        let (Some(first), Some(last)) = (self.window.first(), self.window.last()) else { return };
        if self.page.is_some() || self.is_refused {
            return;
        }
        // At the end, the newest entries must stay in memory.
        let may_drop_newest = self.view.place != Place::End || !self.window.is_full();
        let grows = |end| self.grown.is_none_or(|grown| grown == end);
        if first > 0 && top - first < NEAR && may_drop_newest && grows(End::Oldest) {
            let span = Span::UpTo { count: PAGE.min(first), upto: Some(first - 1) };
            self.request_page(Wanted::More(End::Oldest), span);
        } else if !self.window.is_live() && last - bottom < NEAR && grows(End::Newest) {
            self.request_page(Wanted::More(End::Newest), Span::After(Latest::at(last)));
        }
    }

    fn request_page(&mut self, wanted: Wanted, span: Span) {
        self.page = Some(wanted);
        self.page_number += 1;
        let (log, room) = (self.log.clone(), self.rooms.open().clone());
        self.requests.push(Request::Page(self.page_number, log, room, span));
    }

    /// Every key clears the notice and allows new requests.
    pub(crate) fn on_input(&mut self) {
        self.notice = None;
        (self.is_refused, self.grown) = (false, None);
    }

    pub(crate) fn loss_on_quit(&self) -> Option<String> {
        match (self.unsent.len(), self.drafts.keys().next()) {
            (0, room) => room.map(|room| format!("You have a draft in {room}.")),
            (1, _) => Some("1 message is not sent yet.".into()),
            (count, _) => Some(format!("{count} messages are not sent yet.")),
        }
    }

    /// Messages that are refused, or unanswered for so long that they are shown.
    pub(crate) fn late(&self) -> impl Iterator<Item = &Unsent> {
        self.unsent.iter().filter(|it| it.failed.is_some() || it.since.elapsed() > SLOW)
    }

    /// Whether the screen may change without news.
    pub(crate) fn is_waiting(&self) -> bool {
        self.unsent.iter().any(|it| it.failed.is_none())
    }

    /// Reads who wrote the new entries of another room: the user's own are not unread.
    fn peek(&mut self) {
        if self.is_peeking {
            return;
        }
        if let Some((room, count, upto)) = self.rooms.next_peek() {
            self.is_peeking = true;
            let span = Span::UpTo { count, upto: Some(upto) };
            self.requests.push(Request::Peek(self.rooms.log().to_owned(), room, span));
        }
    }

    fn peeked(&mut self, log: &str, room: &RoomName, page: Result<Reply, ClientError>) {
        self.is_peeking = false;
        if log == self.rooms.log() {
            self.rooms.peeked(room, page.as_ref().ok(), &self.me);
        }
        self.peek();
    }
}
