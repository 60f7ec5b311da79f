//! What the chat knows and shows: a state machine without I/O.
//!
//! Enters: news of the client, keys, the time. Leaves: asks, and a drawing. Invariant: a text that was sent is in
//! `unsent` until its answer is here, and stays there when it was refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use jiff::tz::TimeZone;
use ratatui::text::Line;
use roomlog_client::{
    AppendError, Followed, Outcome, Reset, State,
    protocol::{Author, ClientAppend, EntryId, Limits, Reply, RoomName, Span, end_of},
};

use crate::{
    composer::Composer,
    help::Help,
    limits::{NEAR, PAGE, SLOW},
    line::{Columns, Timeline},
    link::{Ask, News, Opening},
    marks::Marks,
    rooms::Rooms,
    shown::Abouts,
    view::{Place, View},
    window::{End, Window},
};

/// A text that has no answer yet, or was refused.
pub(crate) struct Unsent {
    pub(crate) append: ClientAppend,
    /// The log that its slots are of.
    pub(crate) log: String,
    pub(crate) since: Instant,
    pub(crate) failed: Option<AppendError>,
}

/// Why a page was asked for.
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
    pub(crate) abouts: Abouts,
    pub(crate) view: View,
    pub(crate) composer: Composer,
    drafts: BTreeMap<RoomName, String>,
    pub(crate) unsent: Vec<Unsent>,
    pub(crate) state: State,
    /// Said once, until the next key.
    pub(crate) notice: Option<String>,
    /// Why the room's entries do not come.
    pub(crate) waiting: Option<String>,
    /// Why the room cannot be followed at all.
    pub(crate) refused: Option<String>,
    /// Why the client gave up.
    pub(crate) ended: Option<String>,
    /// The help, while it is open.
    pub(crate) help: Option<Help>,
    pub(crate) is_over: bool,
    /// It was said what would be lost by leaving.
    pub(crate) warned: bool,
    opening: Opening,
    /// The log that the window is of.
    pub(crate) log: String,
    page: Option<Wanted>,
    /// Whether a room that is not open is being looked at.
    pub(crate) is_looking: bool,
    /// The number of the page that was asked for last.
    asked: u64,
    /// The end that grew when the other one was let go of: that other one is not asked for again before a
    /// key, or a screen that all of it does not fill would have them in turn for ever.
    let_go: Option<End>,
    /// Where to go when the page that is on its way is here.
    goal: Option<u64>,
    /// A page was refused: the next is asked for when one scrolls again.
    is_refused: bool,
    pub(crate) new: Option<u64>,
    pub(crate) target: Option<u64>,
    pub(crate) whole: BTreeSet<u64>,
    pub(crate) asks: Vec<Ask>,
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
            abouts: Abouts::default(),
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
            is_looking: false,
            asked: 0,
            goal: None,
            let_go: None,
            is_refused: false,
            new: None,
            target: None,
            whole: BTreeSet::new(),
            asks: Vec::new(),
        };
        app.enter(room);
        app
    }

    /// What is to be asked of the client.
    pub(crate) fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    pub(crate) fn body_limit(&self) -> usize {
        usize::try_from(self.limits.body_bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn news(&mut self, news: News) {
        match news {
            News::Followed(opening, log, followed) if opening == self.opening => {
                self.followed(log, followed);
            }
            News::NotFollowed(opening, error) if opening == self.opening => {
                self.refused = Some(error.to_string());
            }
            News::Page(number, page) if number == self.asked => match page {
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
                self.look();
            }
            News::Looked(log, room, page) => self.looked(&log, &room, page),
            News::State(state) => self.state = state,
            News::Answered(id, outcome) => self.answered(&id, outcome),
            News::Ended(error) => {
                self.ended = Some(error.to_string());
            }
        }
    }

    /// Opens another room; what is in the composer stays with the one before.
    pub(crate) fn switch(&mut self, room: RoomName) {
        let draft = self.composer.take();
        self.drafts.insert(self.rooms.open().clone(), draft);
        self.drafts.retain(|_, draft| !draft.trim().is_empty());
        self.composer.set(&self.drafts.remove(&room).unwrap_or_default());
        self.enter(room);
    }

    /// Goes to the newest entry, with all that follow.
    pub(crate) fn back_to_now(&mut self) {
        self.forget_page();
        if self.window.is_live() {
            self.view.place = Place::End;
        } else {
            self.enter(self.rooms.open().clone());
        }
        self.target = None;
    }

    fn enter(&mut self, room: RoomName) {
        self.rooms.opened(room.clone());
        self.look();
        self.new = self.rooms.mark_of_open().map(end_of);
        self.opening += 1;
        self.forget();
        (self.waiting, self.refused) = (None, None);
        self.asks.push(Ask::Open(self.opening, room));
    }

    fn forget(&mut self) {
        (self.window, self.abouts, self.view) = (Window::new(), Abouts::default(), View::new());
        self.forget_page();
        self.target = None;
        self.whole.clear();
    }

    /// What is on its way is not wanted any more.
    fn forget_page(&mut self) {
        (self.page, self.goal) = (None, None);
        self.asked += 1;
    }

    fn followed(&mut self, log: String, followed: Followed) {
        match followed {
            Followed::Entries(entries) => {
                self.waiting = None;
                if self.window.last().is_none() {
                    self.rooms.use_log(&log);
                    self.log = log;
                }
                self.abouts.take(&entries);
                self.window.followed(&entries, self.view.place != Place::End);
                self.moved();
            }
            Followed::Reset(why) => {
                self.forget();
                self.rooms.use_log(&log);
                (self.log, self.new) = (log, None);
                let why = match why {
                    Reset::NewLog => {
                        "The server has another log now: it was restored or replaced. These are its messages."
                    }
                    Reset::Diverged => {
                        "The server's log differs from what was shown. These are its messages."
                    }
                };
                self.notice = Some(why.into());
            }
            Followed::Waiting(why) => self.waiting = Some(why),
        }
    }

    fn read(&mut self, reply: Reply) {
        let Some(wanted) = self.page.take() else { return };
        self.abouts.take(&reply.entries);
        match wanted {
            Wanted::More(end) => {
                if self.window.page(reply.entries, end) {
                    self.let_go = Some(end);
                }
            }
            Wanted::Around { slot, upto } => {
                let is_clipped = reply.entries.first().is_some_and(|first| first.slot > slot);
                if is_clipped && upto != slot {
                    // The server sends the newest of what does not fit one page.
                    return self.ask_around(slot, slot);
                }
                self.window.replace(reply.entries);
                self.view.place = Place::Around(slot);
            }
        }
        self.moved();
    }

    /// Another part of the room is held: what is about other parts may go, and a goal may be in reach.
    fn moved(&mut self) {
        if let (Some(first), Some(last)) = (self.window.first(), self.window.last()) {
            self.abouts.trim(first..=last);
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

    /// Refuses a slot that the room has not reached; before the room's first page none is known.
    pub(crate) fn check_slot(&self, slot: u64) -> Result<(), String> {
        match self.window.latest() {
            latest if latest >= 0 && slot > latest.unsigned_abs() => {
                Err(format!("There is no slot {slot} yet; the latest is {latest}."))
            }
            _ => Ok(()),
        }
    }

    /// Brings a slot into view that there is, as soon as it can be.
    pub(crate) fn show(&mut self, slot: u64) {
        if self.window.get(slot).is_some() {
            self.view.place = Place::Around(slot);
        } else if self.page.is_some() || self.window.last().is_none() {
            self.goal = Some(slot);
        } else {
            let upto = slot.saturating_add(PAGE / 2).min(self.window.latest().unsigned_abs());
            self.ask_around(slot, upto);
        }
    }

    fn ask_around(&mut self, slot: u64, upto: u64) {
        let span = Span::UpTo { count: PAGE, upto: Some(upto) };
        self.ask_page(Wanted::Around { slot, upto }, span);
    }

    /// What of the room is seen in an area of this size; asks for more where it comes near an end.
    pub(crate) fn timeline(&mut self, width: usize, height: usize) -> Vec<Line<'static>> {
        let timeline = Timeline {
            window: &self.window,
            abouts: &self.abouts,
            zone: &self.zone,
            columns: Columns::new(width, self.window.latest()),
            new: self.new,
            me: &self.me,
            target: self.target,
            whole: &self.whole,
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
        // At the end, what is held is the newest, whatever of it is seen.
        let may_drop_newest = self.view.place != Place::End || !self.window.is_full();
        let grows = |end| self.let_go.is_none_or(|grown| grown == end);
        if first > 0 && top - first < NEAR && may_drop_newest && grows(End::Oldest) {
            let span = Span::UpTo { count: PAGE.min(first), upto: Some(first - 1) };
            self.ask_page(Wanted::More(End::Oldest), span);
        } else if !self.window.is_live() && last - bottom < NEAR && grows(End::Newest) {
            self.ask_page(Wanted::More(End::Newest), Span::After(last.cast_signed()));
        }
    }

    fn ask_page(&mut self, wanted: Wanted, span: Span) {
        self.page = Some(wanted);
        self.asked += 1;
        let (log, room) = (self.log.clone(), self.rooms.open().clone());
        self.asks.push(Ask::Page(self.asked, log, room, span));
    }

    /// The next key is a new try.
    pub(crate) fn touched(&mut self) {
        self.notice = None;
        (self.is_refused, self.let_go) = (false, None);
    }

    /// What leaving now would lose.
    pub(crate) fn would_lose(&self) -> Option<String> {
        match (self.unsent.len(), self.drafts.keys().next()) {
            (0, room) => room.map(|room| format!("You have a draft in {room}.")),
            (1, _) => Some("1 message is not sent yet.".into()),
            (count, _) => Some(format!("{count} messages are not sent yet.")),
        }
    }

    /// Texts that have no answer for so long that it should be seen, and refused ones.
    pub(crate) fn late(&self) -> impl Iterator<Item = &Unsent> {
        self.unsent.iter().filter(|it| it.failed.is_some() || it.since.elapsed() > SLOW)
    }

    /// Whether something is to be drawn although nothing comes.
    pub(crate) fn is_waiting(&self) -> bool {
        self.unsent.iter().any(|it| it.failed.is_none())
    }
}
