//! The people of another chat as authors.
//!
//! Enters: the id that a person has there, and a name. Leaves: an author, and what has to be said of it once.
//! Invariants: one person is one author, two persons are two; who was named first keeps the name, so an export
//! that goes on with more messages gives the same authors.

use std::collections::HashMap;

use roomlog_protocol::Author;

use super::day::short_hash;

/// The most people of one import; each costs some 300 bytes.
const MOST: usize = 1_000_000;

/// Who was named so far.
#[derive(Default)]
pub(super) struct People {
    authors: HashMap<String, Author>,
    /// Whose a name is.
    ids: HashMap<Author, String>,
}

impl People {
    /// The author for a person; a sentence when it is not just the name.
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
        let plain = plain.ok_or("it names nobody as its author")?;
        let note = |author: &Author| {
            (author.as_str() != name)
                .then(|| format!("{name:?} (id {id:?}) is written as {author:?}"))
        };
        let mut author = Author::new(&plain).map_err(|why| why.to_string())?;
        if self.ids.contains_key(&author) {
            author = apart(&plain, id)?;
        }
        self.authors.insert(id.into(), author.clone());
        self.ids.entry(author.clone()).or_insert_with(|| id.into());
        let note = note(&author);
        Ok((author, note))
    }
}

/// The name with the id behind it.
fn apart(name: &str, id: &str) -> Result<Author, String> {
    let tail = cut(id, 24).filter(|tail| tail == id).unwrap_or_else(|| short_hash(id));
    let tail = format!(" ({tail})");
    let head = cut(name, Author::MAX_BYTES - tail.len()).unwrap_or_default();
    Author::new(format!("{head}{tail}").trim()).map_err(|why| why.to_string())
}

/// The name as an author can be: without controls, no longer than this; none when nothing is left.
fn cut(name: &str, bytes: usize) -> Option<String> {
    let plain: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
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
    fn nobody_is_refused() {
        assert!(People::default().author("", " ").is_err());
    }
}
