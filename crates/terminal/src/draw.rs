//! Draws the screen.
//!
//! Invariant: any size is drawn without a panic; what does not fit is left out in this order:
//! rooms, columns of the timeline, unsent messages.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph},
};
use roomlog_client::{State, protocol::RoomName};

use crate::{
    app::App,
    style::{BOLD, DIM, WARN},
    text, unsent,
    view::Place,
};

/// The least columns for a list of rooms.
const WIDE: u16 = 72;
const ROOMS: u16 = 22;
/// The most rows of unsent messages.
const UNSENT_ROWS: u16 = 6;
const PROMPT: u16 = 2;
/// The most rows of a notice.
const NOTICE_ROWS: u16 = 4;

pub(crate) fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let rooms_columns = if frame.area().width >= WIDE { ROOMS } else { 0 };
    let [left, area] = Layout::horizontal([Constraint::Length(rooms_columns), Constraint::Min(1)])
        .areas(frame.area());
    let late: Vec<_> = app.late().collect();
    let most = UNSENT_ROWS.min(area.height / 3).max(1);
    let late = unsent::rows(&late, area.width.into(), most.into());
    let late_rows = u16::try_from(late.len()).unwrap_or(u16::MAX);
    let composer_rows = app.composer.rows(area.width.saturating_sub(PROMPT));
    let [head, log, waiting, rule, composer, status] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(late_rows),
        Constraint::Length(1),
        Constraint::Length(composer_rows),
        Constraint::Length(notice_rows(app, area)),
    ])
    .areas(area);
    timeline(app, frame, log);
    // After the timeline, which marks what it shows as read.
    if !left.is_empty() {
        rooms(app, frame, left);
    }
    header(app, frame, head);
    frame.render_widget(Paragraph::new(late), waiting);
    frame.render_widget(Block::new().borders(Borders::TOP).border_style(DIM), rule);
    let [prompt, input] =
        Layout::horizontal([Constraint::Length(PROMPT), Constraint::Min(1)]).areas(composer);
    frame.render_widget(Paragraph::new("›"), prompt);
    let placeholder = format!("Write to {}", text::one_line(app.rooms.open().as_str(), 40));
    app.composer.draw(frame, input, placeholder);
    match &app.notice {
        Some(notice) => {
            let rows = text::few_rows(notice, status.width.into(), status.height.into());
            let rows: Vec<_> = rows.into_iter().map(|row| Line::styled(row, WARN)).collect();
            frame.render_widget(Paragraph::new(rows), status);
        }
        None => frame.render_widget(status_line(app, status), status),
    }
    if let Some(help) = &mut app.help {
        help.draw(frame);
    }
}

/// The rows of the notice, or of the status line without one.
fn notice_rows(app: &App, area: Rect) -> u16 {
    let rows = app
        .notice
        .as_ref()
        .map_or(1, |notice| text::wrap(&text::safe(notice), area.width.into()).len());
    u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, NOTICE_ROWS.min(area.height / 3).max(1))
}

fn rooms(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::RIGHT).border_style(DIM);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let rows = usize::from(inner.height);
    let (before, shown, behind) = app.rooms.around(rows.saturating_sub(2));
    let mut lines = vec![Line::from(more("▲", before))];
    lines.extend(shown.into_iter().map(|room| room_line(app, room, inner.width.into())));
    lines.push(Line::from(more("▼", behind)));
    if before == 0 {
        lines[0] = Line::styled("Rooms", DIM);
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn more(sign: &str, count: usize) -> Span<'static> {
    Span::styled(if count > 0 { format!("{sign} {count} more") } else { String::new() }, DIM)
}

fn room_line(app: &App, room: &RoomName, width: usize) -> Line<'static> {
    let unread = match app.rooms.unread(room) {
        0 => String::new(),
        count if count > 999 => " 999+".into(),
        count => format!(" {count}"),
    };
    let style = match (room == app.rooms.open(), unread.is_empty()) {
        (true, _) => Style::new().add_modifier(Modifier::REVERSED),
        (false, true) => Style::new(),
        (false, false) => BOLD,
    };
    let name = text::one_line(room.as_str(), width.saturating_sub(unread.len() + 1));
    let free = width.saturating_sub(text::width(&name) + unread.len() + 1);
    Line::from(vec![
        Span::styled(name + &" ".repeat(free), style),
        Span::styled(unread, if style == BOLD { BOLD.fg(Color::Cyan) } else { style }),
    ])
}

fn header(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let latest = app.window.latest();
    let right = match latest {
        ..0 => String::new(),
        0 => "1 entry ".into(),
        latest => format!("{} entries ", latest + 1),
    };
    let left = usize::from(area.width).saturating_sub(right.len() + 1);
    let name = text::one_line(app.rooms.open().as_str(), left);
    let free = left.saturating_sub(text::width(&name)) + 1;
    let line =
        vec![Span::styled(name, BOLD), Span::raw(" ".repeat(free)), Span::styled(right, DIM)];
    frame.render_widget(Line::from(line), area);
}

fn timeline(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let mut lines = app.timeline(area.width.into(), area.height.into());
    if lines.is_empty() {
        let why = match app.refused.as_ref().or(app.waiting.as_ref()) {
            _ if app.window.latest() >= 0 => "",
            Some(why) => &format!("Messages cannot be loaded: {}", text::one_line(why, 200)),
            None if app.state != State::Connected => {
                "Offline: messages appear when the server is back."
            }
            None if app.rooms.has_entries() => "Loading messages…",
            None => "No messages yet",
        };
        lines.push(Line::styled(format!(" {why}"), DIM));
    }
    let rows = u16::try_from(lines.len()).unwrap_or(area.height).min(area.height);
    let low = Rect { y: area.bottom() - rows, height: rows, ..area };
    frame.render_widget(Paragraph::new(lines), low);
}

fn status_line(app: &App, area: Rect) -> Line<'static> {
    let (below, columns) = (app.window.behind(), usize::from(area.width));
    let (what, style) = if let Some(why) = &app.ended {
        (format!("✗ Disconnected. Quit with Ctrl-C and restart. ({why})"), WARN)
    } else if let Some(why) = &app.refused {
        (format!("✗ This room cannot be read: {why}"), WARN)
    } else if let State::Reconnecting(why) = &app.state {
        let long = "○ Offline: reconnecting. Your messages will be sent.";
        let short = "○ Offline. Your messages will be sent.".to_owned();
        let forms = [format!("{long} ({why})"), long.to_owned(), short];
        (longest_that_fits(forms, "○ Offline".to_owned(), columns), WARN)
    } else if let Some(why) = &app.waiting {
        (format!("○ Retrying: {why}"), WARN)
    } else if app.view.place != Place::End && below > 0 {
        (format!("▼ {below} below · Esc: jump to latest"), Style::new().fg(Color::Cyan))
    } else if app.view.place != Place::End {
        ("Esc: jump to latest".into(), DIM)
    } else {
        let forms = [
            format!("● {} · {} · F1 or /help", app.me, app.server),
            format!("● {} · F1 or /help", app.me),
        ];
        (longest_that_fits(forms, format!("● {}", app.me), columns), DIM)
    };
    Line::styled(text::one_line(&what, columns), style)
}

/// The first of these that fits, or else the last resort.
fn longest_that_fits<const N: usize>(forms: [String; N], or: String, columns: usize) -> String {
    forms.into_iter().find(|form| text::width(form) <= columns).unwrap_or(or)
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use roomlog_client::{
        Followed,
        protocol::{Author, Limits, RoomName},
    };

    use super::*;
    use crate::{help::Help, link::News};

    #[test]
    fn every_size_is_drawn() {
        let (me, room) =
            (Author::new("ada").expect("a name"), RoomName::new("general").expect("a name"));
        let mut app = App::new(
            (me, "http://127.0.0.1:7400".into()),
            ("a log".into(), Limits::default()),
            (room, crate::marks::Marks::default()),
        );
        let entries = ["a line of many words", "漢字漢字漢字漢字", "👩‍👩‍👧‍👦", "one\ntwo\n\nthree", ""];
        let entry = |(slot, body): (usize, &&str)| {
            let id = format!("id-{slot}");
            let json = serde_json::json!({
                "slot": slot, "author": "漢字", "id": id, "body": body, "committed_at": 1_763_796_120_123_u64,
                "salt": "cm9vbWxvZy1zbHQw",
            });
            serde_json::from_value(json).expect("an entry")
        };
        let entries = entries.iter().enumerate().map(entry).collect();
        app.news(News::Followed(1, "a log".into(), Followed::Entries(entries)));
        app.composer.set("a text that does not fit\nof two lines");
        for helps in [false, true] {
            app.help = helps.then(Help::default);
            for (width, height) in
                (1..=90).flat_map(|width| [1, 2, 3, 4, 7, 30].map(|height| (width, height)))
            {
                let mut terminal =
                    Terminal::new(TestBackend::new(width, height)).expect("a terminal");
                terminal.draw(|frame| draw(&mut app, frame)).expect("a drawing");
            }
        }
        let mut terminal = Terminal::new(TestBackend::new(90, 30)).expect("a terminal");
        app.help = None;
        terminal.draw(|frame| draw(&mut app, frame)).expect("a drawing");
        let shown = terminal.backend().to_string();
        assert!(shown.contains("a line of many words") && shown.contains("5 entries"), "{shown}");
    }
}
