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
    /// React to this slot, or to the one that was gone to; without an emoji, take it back.
    React(Option<u64>, String),
    /// Take a text of one's own up for a change: that of this slot, or the last.
    TakeUp(Option<u64>),
    Retry,
    Drop,
    Help,
    Quit,
}

/// What one can type, and what it does; the help shows it.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("/join ROOM", "open or create a room"),
    ("/goto SLOT", "go to the message with this number, and select it"),
    ("/reply SLOT TEXT", "reply to a message"),
    ("/react SLOT EMOJI", "react; without SLOT, to the selected message"),
    ("/react SLOT", "take your reaction back"),
    ("/edit SLOT TEXT", "change a message of yours; /edit alone: your last one"),
    ("/me TEXT", "say what you do"),
    ("/show SLOT", "show a long message whole, or fold it again"),
    ("/retry", "send again what was refused"),
    ("/drop", "discard what was refused"),
    ("/help", "show this; F1 does so too"),
    ("/quit", "quit; Ctrl-C does so too"),
    ("//TEXT", "send a message that begins with /"),
];

/// The names of the commands, with the `/`.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let mut before = "";
    let named = COMMANDS.iter().filter(|(form, _)| !form.starts_with("//"));
    let names = named.map(|(form, _)| form.split(' ').next().unwrap_or_default());
    names.filter(move |name| std::mem::replace(&mut before, name) != *name)
}

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
        "edit" if rest.is_empty() => Ok(Command::TakeUp(None)),
        "edit" => match about(name, rest)? {
            (slot, "") => Ok(Command::TakeUp(Some(slot))),
            it => said(name, "edit", it),
        },
        "react" => Ok(match about(name, rest) {
            Ok((slot, emoji)) => Command::React(Some(slot), emoji.to_owned()),
            Err(_) => Command::React(None, rest.to_owned()),
        }),
        "join" => join(name, rest),
        "goto" => about(name, rest).map(|(slot, _)| Command::Go(slot)),
        "show" => about(name, rest).map(|(slot, _)| Command::Whole(slot)),
        "retry" => Ok(Command::Retry),
        "drop" => Ok(Command::Drop),
        "help" => Ok(Command::Help),
        "quit" => Ok(Command::Quit),
        _ => Err(usage(name)),
    }
}

fn join(name: &str, rest: &str) -> Result<Command, String> {
    match without_hash(rest) {
        "" => Err(usage(name)),
        room => RoomName::new(room)
            .map(Command::Join)
            .map_err(|error| format!("That is no name for a room: {error}.")),
    }
}

/// A room's name without the leading `#` of other chats; the page accepts one too.
pub(crate) fn without_hash(room: &str) -> &str {
    room.strip_prefix('#').unwrap_or(room)
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
            format!("Type {form}. SLOT is the number left of a message.")
        }
        Some((form, _)) => format!("Type {form}."),
        None => {
            let all = names().collect::<Vec<_>>().join(" ");
            format!(
                "There is no /{name}. Commands: {all}. To send a message that begins with /, type //."
            )
        }
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
        assert_eq!(read("/react 7 👍"), Ok(Command::React(Some(7), "👍".into())));
        assert_eq!(read("/react 7"), Ok(Command::React(Some(7), String::new())));
        assert_eq!(read("/react 👍"), Ok(Command::React(None, "👍".into())));
        assert_eq!(read("/edit 7 new"), say("edit", Some(7), "new"));
        assert_eq!(read("/edit 7"), Ok(Command::TakeUp(Some(7))));
        assert_eq!(read("/edit"), Ok(Command::TakeUp(None)));
        assert_eq!(read("/goto 12"), Ok(Command::Go(12)));
    }

    #[test]
    fn a_room_may_be_written_with_a_hash_before_its_name() {
        let random = || Ok(Command::Join(RoomName::new("random").expect("a name")));
        assert_eq!(read("/join random"), random());
        assert_eq!(read("/join #random"), random());
        assert!(read("/join #").expect_err("no name").starts_with("Type /join ROOM."));
        read("/join ##random").expect_err("only one is taken off");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_right_form() {
        for (wrong, said) in [
            ("/reply hello", "Type /reply SLOT TEXT."),
            ("/reply 7", "Type /reply SLOT TEXT."),
            ("/me", "Type /me TEXT."),
            ("/goto -1", "Type /goto SLOT."),
            ("/join", "Type /join ROOM."),
            ("/join a b", "That is no name for a room: "),
            ("/usr/bin", "There is no /usr/bin. Commands: /join /goto "),
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.starts_with(said), "{wrong}: {error}");
        }
    }
}
