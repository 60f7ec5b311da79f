//! What each key does.
//!
//! Invariant: an unknown key does nothing, and no key discards a text: Ctrl-C moves it to the
//! history first.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use roomlog_client::protocol::RoomName;

use crate::{app::App, command, help::Help, text};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Redraw,
    Suspend,
}

pub(crate) fn event(app: &mut App, event: &Event) -> Effect {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => pressed(app, *key),
        Event::Paste(text) => {
            app.on_input();
            app.help = None;
            paste(app, text);
            Effect::Nothing
        }
        _ => Effect::Nothing,
    }
}

fn pressed(app: &mut App, key: KeyEvent) -> Effect {
    app.on_input();
    let (control, alt) =
        (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
    if is_for_help(app, key, control) {
        return Effect::Nothing;
    }
    match key.code {
        KeyCode::Char('c') if control => leave(app),
        KeyCode::Char('d') if control && app.composer.is_empty() => leave(app),
        KeyCode::Char('z') if control => return Effect::Suspend,
        KeyCode::Char('l') if control => return Effect::Redraw,
        KeyCode::Char('n') if control => switch(app, app.rooms.beside(true), NO_OTHER),
        KeyCode::Char('p') if control => switch(app, app.rooms.beside(false), NO_OTHER),
        KeyCode::Char('a') if alt => switch(app, app.rooms.next_unread(), NO_UNREAD),
        KeyCode::F(1) => app.help = Some(Help::default()),
        KeyCode::PageUp if control => app.view.scroll_rows(1),
        KeyCode::PageDown if control => app.view.scroll_rows(-1),
        KeyCode::PageUp => app.view.scroll_screens(1),
        KeyCode::PageDown => app.view.scroll_screens(-1),
        KeyCode::Up if alt => app.view.scroll_rows(1),
        KeyCode::Down if alt => app.view.scroll_rows(-1),
        KeyCode::Home if alt || control => to_first(app),
        KeyCode::End if alt || control => app.back_to_now(),
        KeyCode::Esc => app.back_to_now(),
        KeyCode::Tab => complete(app),
        KeyCode::Enter if key.modifiers.is_empty() => enter(app),
        _ => app.composer.key(key),
    }
    Effect::Nothing
}

/// Whether the open help handles this key. The keys that quit, suspend or redraw still do so.
fn is_for_help(app: &mut App, key: KeyEvent, control: bool) -> bool {
    let Some(help) = &mut app.help else { return false };
    match key.code {
        KeyCode::Char('l' | 'z') if control => return false,
        // The help would cover their notice.
        KeyCode::Char('c' | 'd') if control => {
            app.help = None;
            return false;
        }
        code if help.key(code) => app.help = None,
        _ => {}
    }
    true
}

const NO_OTHER: &str = "There is no other room yet. /join ROOM opens or creates one.";
const NO_UNREAD: &str = "No other room has unread messages.";

fn switch(app: &mut App, room: Option<RoomName>, otherwise: &str) {
    match room {
        Some(room) => app.switch(room),
        None => app.notice = Some(otherwise.into()),
    }
}

/// Completes the text before the cursor: a command, the room of a `/join`, or else an author.
fn complete(app: &mut App) {
    let before = app.composer.before_cursor();
    let is_command = before.starts_with('/') && !before.starts_with("//");
    match before.split_once(char::is_whitespace) {
        None if is_command => {
            app.notice = app.composer.complete_one(&before, command::names());
        }
        Some(("/join", begun)) => {
            let names = app.rooms.names().map(RoomName::as_str);
            let begun = command::without_hash(begun.trim_start());
            app.notice = app.composer.complete_one(begun, names);
        }
        _ => {
            let others = app.window.iter().rev().filter(|entry| entry.author != app.me);
            app.composer.complete(others.map(|entry| text::typed_name(entry.author.as_str())));
        }
    }
}

fn to_first(app: &mut App) {
    if app.window.latest() >= 0
        && let Err(why) = app.run(command::ChatCommand::Goto(0))
    {
        app.notice = Some(why);
    }
}

fn leave(app: &mut App) {
    if !app.composer.is_empty() {
        app.composer.move_to_history();
        app.notice = Some("Text cleared; Up brings it back. Ctrl-C quits.".into());
    } else if let Some(what) = app.loss_on_quit().filter(|_| !app.warned) {
        app.warned = true;
        app.notice = Some(format!("{what} Ctrl-C quits anyway."));
    } else {
        app.is_over = true;
    }
}

fn paste(app: &mut App, text: &str) {
    let (is, may) = (app.composer.text().len() + text.len(), app.body_limit());
    if is > may {
        let why = format!("the message would have {is} bytes; the limit is {may}.");
        app.notice = Some(format!("Nothing was pasted: {why}"));
    } else {
        app.composer.paste(text);
    }
}

fn enter(app: &mut App) {
    let text = app.composer.text();
    if text.trim().is_empty() {
        return;
    }
    let command = match command::read(text.trim_end()) {
        Ok(command) => command,
        Err(why) => return app.notice = Some(why),
    };
    // First, because the command may set another text.
    app.composer.move_to_history();
    if let Err(why) = app.run(command) {
        app.composer.set(&text);
        app.notice = Some(why);
    }
}
