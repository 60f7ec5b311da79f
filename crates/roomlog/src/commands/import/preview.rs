//! What an import would add: the first entries, their time range, and their authors.
//!
//! Memory grows only with the number of authors, up to [`AUTHORS`].

use std::collections::HashMap;

use roomlog_protocol::{Author, Content, Entry, Limits, Salt};

use crate::{
    commands::printer::Printer,
    failure::Failure,
    import::Imported,
    show::{Shown, utc},
};

const ENTRIES: usize = 5;
/// How many authors are counted, and how many of them are listed.
const AUTHORS: usize = 100_000;
const LISTED: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Preview {
    entries: Vec<Entry>,
    times: Option<(u64, u64)>,
    authors: HashMap<Author, u64>,
    /// Entries of authors that are not counted.
    others: u64,
    too_long: u64,
}

impl Preview {
    pub(super) fn add(&mut self, imported: &Imported) {
        if self.entries.len() < ENTRIES {
            self.entries.push(entry(imported, self.entries.len() as u64));
        }
        if let Some(at) = imported.sent_at {
            let (first, last) = self.times.unwrap_or((at, at));
            self.times = Some((first.min(at), last.max(at)));
        }
        self.too_long += u64::from(imported.body.len() > Limits::default().body_bytes);
        if let Some(count) = self.authors.get_mut(&imported.author) {
            *count += 1;
        } else if self.authors.len() < AUTHORS {
            self.authors.insert(imported.author.clone(), 1);
        } else {
            self.others += 1;
        }
    }
    pub(super) fn print(&self, printer: &mut Printer) -> Result<(), Failure> {
        if let Some((first, last)) = self.times {
            printer.field("first / last", format_args!("{} / {}", utc(first), utc(last)))?;
        }
        let mut authors: Vec<_> = self.authors.iter().collect();
        authors.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let (listed, rest) = authors.split_at(authors.len().min(LISTED));
        let more = if self.others > 0 { " or more" } else { "" };
        printer.field("authors", format_args!("{}{more}", authors.len()))?;
        for (author, count) in listed {
            printer.line(format_args!("{count:>15}  {author}"))?;
        }
        if !rest.is_empty() || self.others > 0 {
            let count: u64 = rest.iter().map(|(_, count)| **count).sum();
            printer.line(format_args!("{:>15}  all others", count + self.others))?;
        }
        if self.too_long > 0 {
            let (n, most) = (self.too_long, Limits::default().body_bytes);
            let what = format_args!("{n} (over {most} bytes; raise --body-bytes of the server)");
            printer.field("too long", what)?;
        }
        printer.line("as they would appear in an empty room:")?;
        let entries = self.entries.iter();
        entries.map(Shown).try_for_each(|entry| printer.line(format_args!("  {entry}")))
    }
}

fn entry(imported: &Imported, slot: u64) -> Entry {
    Entry {
        slot,
        author: imported.author.clone(),
        id: imported.id.clone(),
        content: Content::Said {
            body: imported.body.as_str().into(),
            meta: None,
            // Not shown.
            salt: Salt([0; 12]),
        },
        committed_at: imported.sent_at.unwrap_or(0),
        sent_at: imported.sent_at,
        kind: imported.kind.clone(),
        reference: None,
    }
}
