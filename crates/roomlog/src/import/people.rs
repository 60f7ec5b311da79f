//! Maps the people of another chat to authors.
//!
//! Input: a person's id there, and a name. Output: an author, and a note if that is not the name.
//! One person is one author, two persons are two. The first person with a name keeps it, so an
//! export with more messages gives the same authors.

use std::collections::HashMap;

use roomlog_protocol::{Author, is_visible};

use super::item::short_hash;

/// The most people of one import, at about 300 bytes each.
const MOST: usize = 1_000_000;

#[derive(Default)]
pub(super) struct People {
    authors: HashMap<String, Author>,
    /// The id of the person that has the name.
    ids: HashMap<Author, String>,
}

impl People {
    pub(super) fn author(
        &mut self,
        id: &str,
        name: &str,
    ) -> Result<(Author, Option<String>), String> {
        if let Some(author) = self.authors.get(id) {
            return Ok((author.clone(), None));
        }
        if self.authors.len() >= MOST {
            return Err(format!("there are more than {MOST} people"));
        }
        let plain = [name, id].into_iter().find_map(|text| cut(text, Author::MAX_BYTES));
        let plain = plain.ok_or("it has no author")?;
        let mut author = Author::new(&plain).map_err(|why| why.to_string())?;
        if self.ids.contains_key(&author) {
            author = with_id(&plain, id)?;
        }
        self.authors.insert(id.into(), author.clone());
        self.ids.entry(author.clone()).or_insert_with(|| id.into());
        let renamed = author.as_str() != name;
        let note = renamed.then(|| format!("{name:?} (id {id:?}) is imported as {author:?}"));
        Ok((author, note))
    }
}

fn with_id(name: &str, id: &str) -> Result<Author, String> {
    let tail = cut(id, 24).filter(|tail| tail == id).unwrap_or_else(|| short_hash(id));
    let tail = format!(" ({tail})");
    let head = cut(name, Author::MAX_BYTES - tail.len()).unwrap_or_default();
    Author::new(format!("{head}{tail}").trim()).map_err(|why| why.to_string())
}

/// The name without characters that an author may not have, truncated to `bytes`; `None` if nothing is
/// left.
fn cut(name: &str, bytes: usize) -> Option<String> {
    let spaced = name.chars().map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c });
    let plain: String = spaced.filter(|c| is_visible(*c)).collect();
    let plain = plain.trim();
    let plain = plain[..plain.floor_char_boundary(bytes)].trim_end();
    (!plain.is_empty()).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_one_author_and_two_are_two() {
        let mut people = People::default();
        let mut name = |id: &str, name: &str| {
            let (author, note) = people.author(id, name).expect("an author");
            (author.to_string(), note.is_some())
        };
        assert_eq!(name("user1", "Alex"), ("Alex".into(), false));
        assert_eq!(name("user2", "Alex"), ("Alex (user2)".into(), true));
        assert_eq!(name("user1", "Alexandra"), ("Alex".into(), false));
        assert_eq!(name("user2", "Alex"), ("Alex (user2)".into(), false));
        assert_eq!(name("user3", " two\nlines "), ("two lines".into(), true));
        assert_eq!(name("user4", ""), ("user4".into(), true));
        let long = name("user5", &"é".repeat(40)).0;
        assert_eq!(long, "é".repeat(32));
        assert_eq!(name("user6", &"é".repeat(40)).0, format!("{} (user6)", "é".repeat(28)));
    }

    #[test]
    fn a_person_without_id_and_name_is_rejected() {
        assert!(People::default().author("", " ").is_err());
    }
}
