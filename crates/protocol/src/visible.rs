//! Which characters a name may have so that two names that look alike are alike more often.
//!
//! Enters: a name. Leaves: what is wrong with it. Follows the string classes of RFC 8264 as far as a name
//! for people allows: no control, format or direction characters, nothing that is invisible or a space of
//! another kind, and joiners only where a script needs them (RFC 5892, A.1 and A.2). Symbols are allowed,
//! emoji that are joined or have a variant selector are not.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup,
        JoiningType,
    },
};

const JOINER: char = '\u{200d}';
const NON_JOINER: char = '\u{200c}';

/// A pattern of dots without a dot: it shows nothing, and is no space (U+2800).
const EMPTY_BRAILLE: char = '\u{2800}';

/// Checks the characters of a name.
pub(crate) fn check_visible(name: &str) -> Result<(), &'static str> {
    let characters: Vec<char> = name.chars().collect();
    let category = CodePointMapData::<GeneralCategory>::new();
    let is_mark = |first: &char| GeneralCategoryGroup::Mark.contains(category.get(*first));
    if characters.first().is_some_and(is_mark) {
        return Err("may not begin with a combining mark");
    }
    for (at, &character) in characters.iter().enumerate() {
        if [JOINER, NON_JOINER].contains(&character) {
            if !is_joiner_needed(&characters, at) {
                return Err("may hold a zero-width joiner only where its script needs one");
            }
        } else if !is_visible(character) {
            return Err("may hold no invisible or direction character, and no space but U+0020");
        }
    }
    Ok(())
}

/// Whether a character shows something by itself, or is the ordinary space.
#[must_use]
pub fn is_visible(character: char) -> bool {
    let is_ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_shown = match CodePointMapData::<GeneralCategory>::new().get(character) {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse => false,
        GeneralCategory::SpaceSeparator => character == ' ',
        _ => true,
    };
    is_shown && !is_ignorable.contains(character) && character != EMPTY_BRAILLE
}

/// Whether the joiner at this place changes how its neighbours are written.
fn is_joiner_needed(characters: &[char], at: usize) -> bool {
    let combining = CodePointMapData::<CanonicalCombiningClass>::new();
    let joining = CodePointMapData::<JoiningType>::new();
    let (before, after) = (&characters[..at], &characters[at + 1..]);
    let is_after_virama =
        before.last().is_some_and(|last| combining.get(*last) == CanonicalCombiningClass::Virama);
    if is_after_virama || characters[at] == JOINER {
        return is_after_virama;
    }
    let is_seen = |character: &&char| joining.get(**character) != JoiningType::Transparent;
    let of = |character: Option<&char>| character.map(|it| joining.get(*it));
    let joins_after = [JoiningType::LeftJoining, JoiningType::DualJoining];
    let joins_before = [JoiningType::RightJoining, JoiningType::DualJoining];
    of(before.iter().rev().find(is_seen)).is_some_and(|it| joins_after.contains(&it))
        && of(after.iter().find(is_seen)).is_some_and(|it| joins_before.contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_invisible_or_changes_the_direction_is_refused() {
        for bad in [
            "ada\u{200b}",
            "ada\u{202e}nimda",
            "\u{2066}ada",
            "ada\u{feff}",
            "a\u{ad}da",
            "ada\u{200d}",
            "ada\u{a0}l",
            "ada\u{3000}l",
            "ada\u{2028}",
            "\u{e000}",
            "ada\u{3164}",
            "ada\u{2800}",
            "❤\u{fe0f}",
            "👩\u{200d}💻",
            "\u{301}ada",
            "ada\u{e0041}",
            "a\u{200c}b",
            "\u{628}\u{200c}b",
            "b\u{200c}\u{628}",
            "\u{628}\u{200d}\u{628}",
            "ada\u{180e}",
        ] {
            assert!(check_visible(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_all_scripts_are_allowed() {
        for good in [
            "ada",
            "\u{915}\u{94d}\u{200c}\u{937}",
            "Ada Lovelace",
            "Zoë",
            "Zoe\u{308}",
            "مریم",
            "علی\u{200c}رضا",
            "अदिति",
            "क्\u{200d}ष",
            "山田 太郎",
            "Їжак",
            "🦀",
            "o'Neil",
            "ada (bot)",
            "[ada]",
            "أحمد",
            "דוד",
        ] {
            assert_eq!(check_visible(good), Ok(()), "{good:?}");
        }
    }
}
