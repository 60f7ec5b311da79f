//! Untrusted text, made safe for a terminal and wrapped into rows.
//!
//! Enters: any string. Leaves: rows of graphemes with known widths, for the screen of `chat`; or
//! one line, for the commands that print. Invariant: the result cannot move the cursor, change a
//! colour or reverse the direction of text next to it, and no row is wider than requested.

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// The most code points per grapheme: Unicode's longest emoji has 10; more marks cover other rows.
const GRAPHEME_CODE_POINTS: usize = 12;
const TAB: &str = "    ";

pub(crate) fn width(text: &str) -> usize {
    text.graphemes(true).map(|it| usize::from(it.cell_width())).sum()
}

/// A multi-line text that is safe to draw: `\n` is its only control character.
pub(crate) fn safe(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut safe = String::with_capacity(text.len());
    for grapheme in text.graphemes(true) {
        let before = safe.len();
        grapheme.chars().take(GRAPHEME_CODE_POINTS).for_each(|c| push(&mut safe, c));
        // A mark without a letter would be drawn onto the cell to its left.
        if &safe[before..] != "\n" && safe[before..].cell_width() == 0 {
            safe.truncate(before);
        }
    }
    safe
}

/// As [`safe`], in one line, truncated to `columns`.
pub(crate) fn one_line(text: &str, columns: usize) -> String {
    let text = safe(text).replace('\n', " ");
    if width(&text) <= columns {
        return text;
    }
    let mut cut = head(&text, columns.saturating_sub(1)).to_owned();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// A text that is safe in one line of a command's output: a line end becomes U+240A, a tab stays.
#[must_use]
pub fn printed(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let safe: Vec<_> = text.split('\t').map(|part| safe(part).replace('\n', "\u{240a}")).collect();
    safe.join("\t")
}

/// As [`printed`], but keeps colours: `ESC [ … m`.
#[must_use]
pub fn printed_in_colour(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut out = printed(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.find(|c: char| !matches!(c, '0'..='9' | ';')).unwrap_or(part.len());
        if part[digits..].starts_with('m') {
            out.push_str("\u{1b}[");
            out.push_str(&part[..=digits]);
            out.push_str(&printed(&part[digits + 1..]));
        } else {
            out.push_str(&printed(&format!("\u{1b}[{part}")));
        }
    }
    out
}

/// Whether JSON for a terminal has to escape this character as `\uXXXX`: a control or invisible
/// one.
#[must_use]
pub fn is_escaped_in_json(c: char) -> bool {
    c.is_control() || is_unseen(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A name, truncated to `columns`. Invisible characters become U+FFFD: no name passes for another.
#[must_use]
pub fn name(text: &str, columns: usize) -> String {
    let mut seen = String::with_capacity(text.len());
    for grapheme in text.graphemes(true) {
        let is_emoji = grapheme.cell_width() > 1;
        let is_hidden = |c| is_unseen(c) || (!is_emoji && is_joined(c));
        seen.extend(grapheme.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }));
    }
    one_line(&seen, columns)
}

/// Wraps a safe text into rows of at most `columns` cells, between words if possible.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    text.split('\n').flat_map(|line| wrap_line(line, columns.max(2))).collect()
}

/// As [`safe`], in 1 to `most` rows; the last is truncated if it does not fit.
pub(crate) fn few_rows(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut rows = wrap(&safe(text), columns);
    let most = most.max(1);
    if rows.len() > most {
        let rest = rows[most - 1..].join(" ");
        rows.truncate(most - 1);
        rows.push(one_line(&rest, columns));
    }
    rows
}

fn push(safe: &mut String, c: char) {
    match c {
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => safe.push('\n'),
        '\t' => safe.push_str(TAB),
        // Unicode's control pictures.
        '\0'..='\u{1f}' => safe.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
        '\u{7f}' => safe.push('\u{2421}'),
        '\u{80}'..='\u{9f}' => safe.push('\u{fffd}'),
        c if is_unseen(c) => {}
        c => safe.push(c),
    }
}

/// Invisible characters that reverse or hide their neighbours: Unicode Annex 9's explicit
/// directions, and zero-width spaces. Not joiners, which emoji and some scripts need.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' | '\u{fff9}'..='\u{fffb}'
    )
}

/// A name to type, without invisible characters.
pub(crate) fn typed_name(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c)).collect()
}

/// Invisible characters that change how their neighbours are drawn.
fn is_joined(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{34f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

/// The longest prefix of at most `columns` cells.
fn head(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        taken += usize::from(grapheme.cell_width());
        if taken > columns {
            return &text[..at];
        }
    }
    text
}

fn wrap_line(line: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut rest) = (Vec::new(), line);
    loop {
        let fits = head(rest, columns);
        if fits.len() == rest.len() {
            rows.push(rest.to_owned());
            return rows;
        }
        // A grapheme that is wider than the row is skipped.
        if fits.is_empty() {
            let wide = rest.graphemes(true).next().map_or(rest.len(), str::len);
            rest = &rest[wide..];
            continue;
        }
        let end = match fits.rfind(' ') {
            _ if rest[fits.len()..].starts_with(' ') => fits.len(),
            Some(space) if !fits[..space].trim().is_empty() => space,
            _ => fits.len(),
        };
        rows.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].strip_prefix(' ').unwrap_or(&rest[end..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_become_control_pictures() {
        assert_eq!(safe("\u{1b}[2Jhi\u{7}"), "␛[2Jhi␇");
        assert_eq!(safe("\u{9b}31mred\u{7f}"), "\u{fffd}31mred␡");
        assert_eq!(safe("a\r\nb\rc\u{2028}d"), "a\nb\nc\nd");
        assert_eq!(safe("\tx"), "    x");
    }

    #[test]
    fn a_printed_line_is_one_line_and_its_tabs_stay() {
        assert_eq!(printed("a\tb\r\nc\u{1b}[2J"), "a\tb␊c␛[2J");
        assert_eq!(printed("abc\u{202e}def\u{9b}m"), "abcdef\u{fffd}m");
        assert_eq!(printed(""), "");
    }

    #[test]
    fn of_the_controls_in_a_coloured_line_only_the_colours_stay() {
        assert_eq!(printed_in_colour("\u{1b}[1;31mred\u{1b}[0m\n"), "\u{1b}[1;31mred\u{1b}[0m␊");
        assert_eq!(printed_in_colour("a\u{1b}[2Jb\u{1b}]0;x\u{7}"), "a␛[2Jb␛]0;x␇");
        assert_eq!(printed_in_colour("\u{1b}["), "␛[");
    }

    #[test]
    fn direction_changes_and_invisible_characters_are_removed() {
        assert_eq!(safe("abc\u{202e}def\u{2066}\u{200b}g\u{feff}"), "abcdefg");
        assert_eq!(safe("\u{301}\u{301}a"), "a", "marks without a letter");
    }

    #[test]
    fn a_name_shows_its_invisible_characters() {
        assert_eq!(name("ad\u{200b}a", 9), "ad\u{fffd}a");
        assert_eq!(name("ada\u{fe0f}", 9), "ada\u{fffd}");
        assert_eq!(name("ad\u{200d}a", 9), "ad\u{fffd}a");
        assert_eq!(name("👩‍👩‍👧", 9), "👩‍👩‍👧");
        assert_eq!(name("adalovelace", 6), "adalo…");
    }

    #[test]
    fn combining_marks_are_limited() {
        let tower: String = std::iter::once('o').chain(["\u{301}"; 500].concat().chars()).collect();
        assert_eq!(safe(&tower).chars().count(), GRAPHEME_CODE_POINTS);
        assert_eq!(safe("e\u{301} 👩‍👩‍👧‍👦 ש\u{5b8}"), "e\u{301} 👩‍👩‍👧‍👦 ש\u{5b8}");
    }

    #[test]
    fn rows_wrap_between_words_and_inside_long_ones() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two", 3), ["one", "two"]);
        assert_eq!(wrap("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(wrap("漢字漢字", 5), ["漢字", "漢字"]);
        assert_eq!(wrap("    code", 20), ["    code"]);
    }

    #[test]
    fn a_truncated_line_ends_with_an_ellipsis() {
        assert_eq!(one_line("one\ntwo", 10), "one two");
        assert_eq!(one_line("漢字漢字", 5), "漢字…");
        assert_eq!(one_line("abc", 0), "");
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_or_has_control_characters(
            text in "(\\PC|\\p{Cc}|[\u{200b}-\u{206f}]|\u{301}| |\u{1b}\\[[0-9]m){0,60}",
            columns in 2_usize..30,
        ) {
            for row in wrap(&safe(&text), columns) {
                prop_assert!(width(&row) <= columns, "{row:?}");
                prop_assert!(!row.chars().any(|c| c.is_control() || is_unseen(c)), "{row:?}");
            }
        }

        #[test]
        fn wrapping_removes_only_spaces(text in "[a-z漢é ]{0,60}", columns in 2_usize..30) {
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&wrap(&text, columns).concat()), bare(&text));
        }
    }
}
