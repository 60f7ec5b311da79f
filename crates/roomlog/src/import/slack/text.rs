//! Converts Slack's markup to plain text, as a reader of Slack saw it: `<@U1>` to `@ada`, `&lt;` to
//! `<`.
//!
//! Entities are resolved once, after the markup, so a written `&lt;@U1&gt;` does not become a
//! mention.

use super::export::Names;

pub(super) fn plain(text: &str, names: &Names) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain += &entities(before);
        let Some((inside, behind)) = after.split_once('>') else {
            plain.push('<');
            rest = after;
            continue;
        };
        plain += &entities(&mark(inside, names));
        rest = behind;
    }
    plain + &entities(rest)
}

/// What is between `<` and `>`: a mention, a channel, a command or a link, perhaps with a label.
fn mark(inside: &str, names: &Names) -> String {
    let (what, label) = inside.split_once('|').unwrap_or((inside, ""));
    let named = |mark: char, name: Option<&String>, id: &str| {
        let label = Some(label).filter(|label| !label.is_empty());
        let name = name.map(String::as_str).or(label).unwrap_or(id);
        format!("{mark}{}", name.trim_start_matches(mark))
    };
    match what.split_at_checked(1) {
        Some(("@", id)) => named('@', names.users.get(id), id),
        Some(("#", id)) => named('#', names.channels.get(id), id),
        // `<!here>`, `<!subteam^S1|@group>`, `<!date^1583632742^{date}|8 March>`
        Some(("!", _)) if what.starts_with("!date") && !label.is_empty() => label.into(),
        Some(("!", command)) => named('@', None, command),
        _ if label.is_empty() || what.ends_with(label) => what.trim_start_matches("mailto:").into(),
        _ => format!("{label} ({what})"),
    }
}

fn entities(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
