//! What an import would add, for a person to look at before it is there for ever.
//!
//! Enters: entries in their order. Leaves: the first of them as they would be shown, from when to when they are, and whose.
//! Invariant: memory does not grow with the entries, only with their authors, up to [`AUTHORS`].

use std::{collections::HashMap, fmt};

use roomlog_protocol::{Author, Entry, Limits};

use super::Told;
use crate::show::{Shown, utc};

/// How many entries are shown.
const ENTRIES: usize = 5;
/// How many authors are counted, and how many are listed.
const AUTHORS: usize = 100_000;
const LISTED: usize = 10;

/// What is known of the entries so far.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    entries: Vec<Entry>,
    times: Option<(u64, u64)>,
    authors: HashMap<Author, u64>,
    /// Entries of authors that are not counted.
    others: u64,
    /// Bodies that a server with the default limits refuses.
    too_long: u64,
}

impl Preview {
    pub(crate) fn add(&mut self, told: &Told) {
        if self.entries.len() < ENTRIES {
            self.entries.push(entry(told, self.entries.len() as u64));
        }
        if let Some(at) = told.sent_at {
            let (first, last) = self.times.unwrap_or((at, at));
            self.times = Some((first.min(at), last.max(at)));
        }
        self.too_long += u64::from(told.body.len() as u64 > Limits::default().body_bytes);
        if let Some(count) = self.authors.get_mut(&told.author) {
            *count += 1;
        } else if self.authors.len() < AUTHORS {
            self.authors.insert(told.author.clone(), 1);
        } else {
            self.others += 1;
        }
    }
}

fn entry(told: &Told, slot: u64) -> Entry {
    Entry {
        slot,
        author: told.author.clone(),
        id: told.id.clone(),
        body: told.body.as_str().into(),
        // It is shown with the time that it was said.
        committed_at: told.sent_at.unwrap_or(0),
        sent_at: told.sent_at,
        kind: told.kind.clone(),
        reference: None,
        meta: None,
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((first, last)) = self.times {
            writeln!(f, "first / last     {} / {}", utc(first), utc(last))?;
        }
        let mut authors: Vec<_> = self.authors.iter().collect();
        authors.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let (listed, rest) = authors.split_at(authors.len().min(LISTED));
        let more = if self.others > 0 { " or more" } else { "" };
        writeln!(f, "authors          {}{more}", authors.len())?;
        for (author, count) in listed {
            writeln!(f, "{count:>15}  {author}")?;
        }
        if !rest.is_empty() || self.others > 0 {
            let count: u64 = rest.iter().map(|(_, count)| **count).sum();
            writeln!(f, "{:>15}  all others", count + self.others)?;
        }
        if self.too_long > 0 {
            let most = Limits::default().body_bytes;
            writeln!(
                f,
                "too long         {} (over {most} bytes; see the server's --body-bytes)",
                self.too_long
            )?;
        }
        write!(f, "as they would stand in an empty room:")?;
        self.entries.iter().try_for_each(|entry| write!(f, "\n  {}", Shown(entry)))
    }
}
