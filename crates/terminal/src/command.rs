//! What a text in the composer asks for.
//!
//! Enters: a text, when Enter is pressed. Leaves: an append or an act, or what is wrong with it. Invariant: a
//! text that begins with one `/` is a command or refused, so that a mistyped one is not said to all.

use roomlog_client::protocol::RoomName;

/// What to do with a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Say it: the kind, the slot that it is about, the body.
    Say(&'static str, Option<u64>, String),
    Join(RoomName),
    Go(u64),
    Whole(u64),
    /// Take the last text of one's own up for a change.
    EditLast,
    Retry,
    Drop,
    Help,
    Quit,
}

/// What one can type, and what it does; the help shows it.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("/join ROOM", "open a room, or begin one"),
    ("/goto SLOT", "show an entry"),
    ("/reply SLOT TEXT", "reply to an entry"),
    ("/react SLOT EMOJI", "react to an entry; without EMOJI, take it back"),
    ("/edit SLOT TEXT", "say what you said differently; alone: your last"),
    ("/me TEXT", "say what you do"),
    ("/show SLOT", "show a long entry whole, or in part again"),
    ("/retry", "send again what was refused"),
    ("/drop", "forget what was refused"),
    ("/quit", "leave; Ctrl-C does so too"),
    ("//TEXT", "say a text that begins with a /"),
];

/// Reads a text that is not empty.
///
/// # Errors
/// What is wrong, and what to type instead.
pub(crate) fn read(text: &str) -> Result<Command, String> {
    let Some(command) = text.strip_prefix('/') else {
        return Ok(Command::Say("text", None, text.to_owned()));
    };
    if command.starts_with('/') {
        return Ok(Command::Say("text", None, command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "me" if !rest.is_empty() => Ok(Command::Say("action", None, rest.to_owned())),
        "reply" => about(name, rest).and_then(|it| said(name, "text", it)),
        "edit" if rest.is_empty() => Ok(Command::EditLast),
        "edit" => about(name, rest).and_then(|it| said(name, "edit", it)),
        "react" => about(name, rest)
            .map(|(slot, emoji)| Command::Say("reaction", Some(slot), emoji.to_owned())),
        "join" => RoomName::new(rest).map(Command::Join).map_err(|error| format!("/join: {error}")),
        "goto" => about(name, rest).map(|(slot, _)| Command::Go(slot)),
        "show" => about(name, rest).map(|(slot, _)| Command::Whole(slot)),
        "retry" => Ok(Command::Retry),
        "drop" => Ok(Command::Drop),
        "help" => Ok(Command::Help),
        "quit" => Ok(Command::Quit),
        _ => Err(usage(name)),
    }
}

fn about<'a>(name: &str, rest: &'a str) -> Result<(u64, &'a str), String> {
    let (slot, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let slot = slot.parse().map_err(|_| usage(name))?;
    Ok((slot, text.trim()))
}

fn said(name: &str, kind: &'static str, (slot, text): (u64, &str)) -> Result<Command, String> {
    if text.is_empty() {
        return Err(usage(name));
    }
    Ok(Command::Say(kind, Some(slot), text.to_owned()))
}

fn usage(name: &str) -> String {
    let known = |(form, _): &&(&str, &str)| form[1..].split(' ').next() == Some(name);
    match COMMANDS.iter().find(known) {
        Some((form, _)) if form.contains("SLOT") => {
            format!("it is {form}; SLOT is the number at the left of a line")
        }
        Some((form, _)) => format!("it is {form}"),
        None => format!("there is no /{name}: /help lists what there is, // says a text with a /"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_and_a_command_is_not() {
        let say = |kind, slot, body: &str| Ok(Command::Say(kind, slot, body.to_owned()));
        assert_eq!(read("hello /you"), say("text", None, "hello /you"));
        assert_eq!(read("//etc/passwd"), say("text", None, "/etc/passwd"));
        assert_eq!(read("/me waves"), say("action", None, "waves"));
        assert_eq!(read("/reply 7 two\nlines"), say("text", Some(7), "two\nlines"));
        assert_eq!(read("/react 7 👍"), say("reaction", Some(7), "👍"));
        assert_eq!(read("/react 7"), say("reaction", Some(7), ""));
        assert_eq!(read("/edit 7 new"), say("edit", Some(7), "new"));
        assert_eq!(read("/edit"), Ok(Command::EditLast));
        assert_eq!(read("/goto 12"), Ok(Command::Go(12)));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_right_form() {
        for (wrong, said) in [
            ("/reply hello", "it is /reply SLOT TEXT"),
            ("/reply 7", "it is /reply SLOT TEXT"),
            ("/me", "it is /me TEXT"),
            ("/goto -1", "it is /goto SLOT"),
            ("/join", "/join: "),
            ("/usr/bin", "there is no /usr/bin: "),
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.starts_with(said), "{wrong}: {error}");
        }
    }
}
