//! Parses the text in the composer.
//!
//! Invariant: a text that starts with a single `/` is a command or rejected, never sent by mistake.

use roomlog_client::protocol::RoomName;

use crate::help::COMMANDS;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChatCommand {
    /// Append this: the kind, the slot that it is about, the body.
    Say(&'static str, Option<u64>, String),
    Join(RoomName),
    Goto(u64),
    Show(u64),
    /// React to this slot, or to the selected one; an empty emoji removes the reaction.
    React(Option<u64>, String),
    /// Redact this slot, and the user's edits of it.
    Remove(u64),
    /// Load the user's message in this slot, or the last one, into the composer.
    StartEdit(Option<u64>),
    Retry,
    Drop,
    Help,
    Quit,
}

/// The names of the commands, with the `/`.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let mut before = "";
    let named = COMMANDS.iter().filter(|(form, _)| !form.starts_with("//"));
    let names = named.map(|(form, _)| form.split(' ').next().unwrap_or_default());
    names.filter(move |name| std::mem::replace(&mut before, name) != *name)
}

/// Parses a text that is not empty, or returns what to type instead.
pub(crate) fn read(text: &str) -> Result<ChatCommand, String> {
    let Some(command) = text.strip_prefix('/') else {
        return Ok(ChatCommand::Say("text", None, text.to_owned()));
    };
    if command.starts_with('/') {
        return Ok(ChatCommand::Say("text", None, command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "me" if !rest.is_empty() => Ok(ChatCommand::Say("action", None, rest.to_owned())),
        "reply" => about(name, rest).and_then(|it| say(name, "text", it)),
        "edit" if rest.is_empty() => Ok(ChatCommand::StartEdit(None)),
        "edit" => match about(name, rest)? {
            (slot, "") => Ok(ChatCommand::StartEdit(Some(slot))),
            it => say(name, "edit", it),
        },
        "react" => Ok(match about(name, rest) {
            Ok((slot, emoji)) => ChatCommand::React(Some(slot), emoji.to_owned()),
            Err(_) => ChatCommand::React(None, rest.to_owned()),
        }),
        "remove" => about(name, rest).map(|(slot, _)| ChatCommand::Remove(slot)),
        "join" => join(name, rest),
        "goto" => about(name, rest).map(|(slot, _)| ChatCommand::Goto(slot)),
        "show" => about(name, rest).map(|(slot, _)| ChatCommand::Show(slot)),
        "retry" => Ok(ChatCommand::Retry),
        "drop" => Ok(ChatCommand::Drop),
        "help" => Ok(ChatCommand::Help),
        "quit" => Ok(ChatCommand::Quit),
        _ => Err(usage(name)),
    }
}

fn join(name: &str, rest: &str) -> Result<ChatCommand, String> {
    match without_hash(rest) {
        "" => Err(usage(name)),
        room => RoomName::new(room)
            .map(ChatCommand::Join)
            .map_err(|error| format!("That is not a valid name: {error}.")),
    }
}

/// A room's name without the leading `#` of other chats; the web client accepts one too.
pub(crate) fn without_hash(room: &str) -> &str {
    room.strip_prefix('#').unwrap_or(room)
}

fn about<'a>(name: &str, rest: &'a str) -> Result<(u64, &'a str), String> {
    let (slot, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let slot = slot.parse().map_err(|_| usage(name))?;
    Ok((slot, text.trim()))
}

fn say(name: &str, kind: &'static str, (slot, text): (u64, &str)) -> Result<ChatCommand, String> {
    if text.is_empty() {
        return Err(usage(name));
    }
    Ok(ChatCommand::Say(kind, Some(slot), text.to_owned()))
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
            let literal = "To send a message that begins with /, type //.";
            format!("There is no /{name}. Commands: {all}. {literal}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sent_and_a_command_is_not() {
        let say = |kind, slot, body: &str| Ok(ChatCommand::Say(kind, slot, body.to_owned()));
        assert_eq!(read("hello /you"), say("text", None, "hello /you"));
        assert_eq!(read("//etc/passwd"), say("text", None, "/etc/passwd"));
        assert_eq!(read("/me waves"), say("action", None, "waves"));
        assert_eq!(read("/reply 7 two\nlines"), say("text", Some(7), "two\nlines"));
        assert_eq!(read("/react 7 👍"), Ok(ChatCommand::React(Some(7), "👍".into())));
        assert_eq!(read("/react 7"), Ok(ChatCommand::React(Some(7), String::new())));
        assert_eq!(read("/react 👍"), Ok(ChatCommand::React(None, "👍".into())));
        assert_eq!(read("/edit 7 new"), say("edit", Some(7), "new"));
        assert_eq!(read("/edit 7"), Ok(ChatCommand::StartEdit(Some(7))));
        assert_eq!(read("/edit"), Ok(ChatCommand::StartEdit(None)));
        assert_eq!(read("/remove 7"), Ok(ChatCommand::Remove(7)));
        assert_eq!(read("/goto 12"), Ok(ChatCommand::Goto(12)));
    }

    #[test]
    fn a_room_may_be_written_with_a_hash_before_its_name() {
        let random = || Ok(ChatCommand::Join(RoomName::new("random").expect("a name")));
        assert_eq!(read("/join random"), random());
        assert_eq!(read("/join #random"), random());
        assert!(read("/join #").expect_err("no name").starts_with("Type /join ROOM."));
        read("/join ##random").expect_err("only one is removed");
    }

    #[test]
    fn an_error_shows_the_right_form() {
        for (wrong, start) in [
            ("/reply hello", "Type /reply SLOT TEXT."),
            ("/reply 7", "Type /reply SLOT TEXT."),
            ("/me", "Type /me TEXT."),
            ("/goto -1", "Type /goto SLOT."),
            ("/remove", "Type /remove SLOT."),
            ("/join", "Type /join ROOM."),
            ("/join a b", "That is not a valid name: "),
            ("/usr/bin", "There is no /usr/bin. Commands: /join /goto "),
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.starts_with(start), "{wrong}: {error}");
        }
    }
}
