//! One run of the chat, from entering the screen to leaving it.
//!
//! Invariant: a burst of news or keys is drawn at most once per [`FRAME`].

use std::{
    io::{self, Write},
    path::Path,
};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use roomlog_client::{
    Client,
    protocol::{Author, Body, RoomName},
};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    app::{App, Unsent},
    draw::draw,
    keys::{self, Effect},
    limits::{BURST, FRAME, SLOW},
    link::Link,
    marks::{self, Marks},
    screen::{self, Screen},
};

/// Why the chat failed, or what was unsent at its end.
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
    /// Messages without an answer, by room; they may or may not be in the log.
    #[error("these messages were not confirmed, and may or may not have been sent:{}", list(.0))]
    Unsent(Vec<(RoomName, Body)>),
}

/// Chats as `me` until the user quits, starting in `room`. The client should retry for ever
/// ([`roomlog_client::Options::retry_timeout`] `None`). The terminal is restored in any case.
///
/// # Errors
/// See [`ChatError`].
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
        save(&path, app.rooms.into_marks());
    }
    if !app.unsent.is_empty() {
        let text = |it: Unsent| (it.append.room, it.append.body);
        return Err(ChatError::Unsent(app.unsent.into_iter().map(text).collect()));
    }
    Ok(ended?)
}

/// Saves the read marks. A failure loses no message, so it is only a warning.
fn save(path: &Path, read: Marks) {
    if let Err(why) = marks::save(path, read) {
        // Standard error may be closed too.
        let _ = writeln!(
            io::stderr(),
            "roomlog: your read marks cannot be saved to {}: {why}; unread counts may be wrong next time",
            path.display()
        );
    }
}

async fn chat(app: &mut App, screen: &mut Screen, mut link: Link) -> io::Result<()> {
    let mut events = EventStream::new();
    let (mut interrupt, mut hang_up, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::terminate())?,
    );
    let mut drawn = Instant::now() - FRAME;
    // When to draw next, if at all.
    let mut due = Some(drawn);
    while !app.is_over {
        for request in app.requests.drain(..) {
            link.send(request);
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
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        due = Some(drawn + FRAME);
    }
    Ok(())
}

fn pressed(app: &mut App, screen: &mut Screen, event: &Event) -> io::Result<()> {
    match keys::event(app, event) {
        Effect::Nothing => Ok(()),
        Effect::Redraw => screen.terminal.clear(),
        Effect::Suspend => screen.suspend(),
    }
}

fn list(unsent: &[(RoomName, Body)]) -> String {
    unsent.iter().map(|(room, text)| format!("\n{room}: {text}")).collect()
}
