//! One run of the chat, from taking the terminal to giving it back.
//!
//! Enters: a connected client. Leaves: what the caller has to say when the screen is gone. Invariant: a burst of news
//! or of keys costs one drawing a frame.

use std::{
    io::{self, Write},
    path::Path,
};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use roomlog_client::{
    Client,
    protocol::{Author, RoomName},
};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    app::{App, Unsent},
    draw::draw,
    keys::{self, Wish},
    limits::{BURST, FRAME, SLOW},
    link::Link,
    marks::{self, Marks},
    screen::{self, Screen},
};

/// Why there was no chat, or what was left undone at its end.
#[derive(Debug, Error)]
pub enum ChatError {
    /// Standard input or output is a file or a pipe.
    #[error(
        "`roomlog chat` needs a terminal; `roomlog tail` and `roomlog append` work without one"
    )]
    NoTerminal,
    /// The terminal failed.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
    /// Texts without an answer, as a person reads them; they may be in the log or not.
    #[error("these messages were not confirmed, and may or may not have been sent:{}", list(.0))]
    Unsent(Vec<(RoomName, String)>),
}

/// Chats as `me` until the person at the terminal leaves, beginning in `room`. The client should have
/// endless patience ([`roomlog_client::Options::patience`] `None`).
///
/// # Errors
/// [`ChatError`]; the terminal is as it was before.
pub async fn run(
    client: Client,
    me: Author,
    server: String,
    room: RoomName,
) -> Result<(), ChatError> {
    if !screen::is_terminal() {
        return Err(ChatError::NoTerminal);
    }
    let hello = client.hello();
    let path = marks::default_path();
    let kept = path.as_deref().map(marks::load).unwrap_or_default();
    let mut app = App::new((me, server), (hello.log.clone(), hello.limits.clone()), (room, kept));
    let mut screen = Screen::enter()?;
    let ended = chat(&mut app, &mut screen, Link::new(client)).await;
    drop(screen);
    if let Some(path) = path {
        keep(&path, app.rooms.into_marks());
    }
    if !app.unsent.is_empty() {
        let text = |it: Unsent| (it.append.room, it.append.body);
        return Err(ChatError::Unsent(app.unsent.into_iter().map(text).collect()));
    }
    Ok(ended?)
}

/// Keeps how far rooms were read. That it cannot be kept loses no message, so it is no failure of the chat.
fn keep(path: &Path, read: Marks) {
    if let Err(why) = marks::save(path, read) {
        // Standard error may be full or closed too, and then there is nowhere left to say it.
        let _ = writeln!(
            io::stderr(),
            "roomlog: your read marks cannot be saved to {}: {why}; unread counts may be wrong next time",
            path.display()
        );
    }
}

async fn chat(app: &mut App, screen: &mut Screen, mut link: Link) -> io::Result<()> {
    let mut events = EventStream::new();
    let mut ends = Ends::new()?;
    let mut drawn = Instant::now() - FRAME;
    // When to draw next, if anything is to be drawn.
    let mut due = Some(drawn);
    while !app.is_over {
        for ask in app.asks() {
            link.ask(ask);
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            screen.terminal.draw(|frame| draw(app, frame))?;
            drawn = Instant::now();
            due = app.is_waiting().then(|| drawn + SLOW);
            continue;
        }
        tokio::select! {
            event = events.next() => match event {
                Some(event) => pressed(app, screen, &event?)?,
                None => return Ok(()),
            },
            Some(news) = link.news() => {
                app.news(news);
                for _ in 1..BURST {
                    let Some(news) = link.try_news() else { break };
                    app.news(news);
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => continue,
            () = ends.one() => return Ok(()),
        }
        due = Some(drawn + FRAME);
    }
    Ok(())
}

fn pressed(app: &mut App, screen: &mut Screen, event: &Event) -> io::Result<()> {
    match keys::event(app, event) {
        Wish::Nothing => Ok(()),
        Wish::Redraw => screen.terminal.clear(),
        Wish::Suspend => screen.suspend(),
    }
}

/// What ends a program from outside.
struct Ends {
    interrupt: Signal,
    hang_up: Signal,
    terminate: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn list(unsent: &[(RoomName, String)]) -> String {
    unsent.iter().map(|(room, text)| format!("\n{room}: {text}")).collect()
}
