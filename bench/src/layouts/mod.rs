//! The archive's layouts against each other: how fast each folds, reads and finds, as it grows.
//!
//! ```text
//!  rows-text        a row an entry       ids as text
//!  rows-hash        a row an entry       ids as a 64-bit hash, verified
//!  runs-hash        a row a run of 64    the same
//!  runs-hash-apart  a row a run of 64    the same, in a file of their own
//!  roomlog          the product's: runs, and sorted segments of hashes with filters in front
//! ```
//!
//! Enters: layouts, sizes. Leaves: a table. Invariants: all get the same entries, made from one seed;
//! one is filled, measured and removed before the next, so that they do not share the system's memory.

mod entries;
mod file;
mod ids;
mod input;
mod layout;
mod measure;
mod run;

use std::{error::Error, io, path::Path};

use clap::ValueEnum;
use roomlog_sqlite::SqliteArchive;

use self::{
    entries::{Rows, Runs},
    ids::{Hashed, Text},
    input::{BODY, IdForm, Input},
    layout::{Contender, Layout},
    measure::{Amount, Point, Run},
};
use crate::{
    DataDir,
    spread::{Rooms, Spread},
    table::{Table, say},
    written::Written,
};

/// What happens in a layout, or why it did not.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A row for each entry; ids as text in an index over room, author and id.
    RowsText,
    /// A row for each entry; ids as a 64-bit hash in an index, compared with the entry.
    RowsHash,
    /// A row for up to 64 consecutive entries of a room; ids as `rows-hash`.
    RunsHash,
    /// As `runs-hash`, ids in a file of their own.
    RunsHashApart,
    /// The product's archive, through its contract.
    Roomlog,
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    fn open(self, dir: &Path) -> Outcome<Box<dyn Contender>> {
        Ok(match self {
            Self::RowsText => Box::new(Layout::<Rows, Text>::together(dir)?),
            Self::RowsHash => Box::new(Layout::<Rows, Hashed>::together(dir)?),
            Self::RunsHash => Box::new(Layout::<Runs, Hashed>::together(dir)?),
            Self::RunsHashApart => Box::new(Layout::<Runs, Hashed>::apart(dir)?),
            Self::Roomlog => Box::new(SqliteArchive::open(&dir.join("archive.db"), "bench")?),
        })
    }
}

/// What is measured.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Time and CPU of folds are those since the size before. The files stay in the system's \
    memory as far as they fit. The largest size needs some KB of disk for each entry with text ids, \
    less with others; the table says how much each took."
)]
pub(crate) struct Args {
    #[command(flatten)]
    dir: DataDir,
    /// Layouts, in this order.
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "rows-text,rows-hash,runs-hash,runs-hash-apart,roomlog"
    )]
    layouts: Vec<Kind>,
    /// Sizes at which each is looked at, in entries.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,10000000",
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    at: Vec<u64>,
    /// Entries of a window: what one fold takes in.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    window: u32,
    /// Rooms.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// How entries, and the pages that are read, are spread over rooms.
    #[arg(long, value_enum, default_value_t = Spread::Zipf)]
    spread: Spread,
    /// How ids look.
    #[arg(long, value_enum, default_value_t = IdForm::Ulid)]
    ids: IdForm,
    /// Pages, ids that are there, and ids that are not, that are read at each size.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    reads: u32,
    /// What the entries are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures and prints the table.
///
/// # Errors
/// When a layout fails, or gives back what was not put in.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let mut table = Table::new(&[
        "layout",
        "entries",
        "entries/s",
        "CPU µs an entry",
        "bytes written an entry",
        "file bytes an entry",
        "page p50, µs",
        "page p99, µs",
        "new id p50, µs",
        "known id p50, µs",
    ]);
    let mut at = args.at.clone();
    at.sort_unstable();
    at.dedup();
    let written = Written::here(args.dir.make()?.path())?;
    for kind in &args.layouts {
        one(args, *kind, &at, written, &mut table)
            .map_err(|error| io::Error::other(format!("{}: {error}", kind.name())))?;
    }
    say(&format!(
        "{} rooms, {}, bodies of {BODY} bytes, {} ids, windows of {}, seed {}:\n",
        args.rooms,
        args.spread.name(),
        args.ids.name(),
        args.window,
        args.seed
    ));
    table.print();
    say(&format!("\nWritten: {}. File: WAL included.", written.name()));
    say("Pages of 50 at random places; ids in batches of 32, the time for one of them.");
    Ok(())
}

/// One layout at all sizes.
fn one(args: &Args, kind: Kind, at: &[u64], written: Written, table: &mut Table) -> Outcome<()> {
    let dir = args.dir.make()?;
    let name = kind.name();
    let amount = Amount { window: args.window as usize, reads: args.reads };
    let input = Input::new(args.seed, args.ids, Rooms::new(args.spread, args.rooms))?;
    let contender = kind.open(dir.path())?;
    let mut run = Run { name: &name, contender, dir: dir.path(), input, written, amount: &amount };
    for entries in at {
        let point = run.point(*entries)?;
        eprintln!("{name}: {entries} entries, {:.0} a second", point.rate);
        table.row(row(&name, &point));
    }
    Ok(())
}

fn row(name: &str, point: &Point) -> Vec<String> {
    vec![
        name.into(),
        point.entries.to_string(),
        format!("{:.0}", point.rate),
        format!("{:.2}", point.cpu_us),
        format!("{:.0}", point.written),
        format!("{:.0}", point.file),
        format!("{:.1}", point.page_p50),
        format!("{:.1}", point.page_p99),
        format!("{:.2}", point.new_p50),
        format!("{:.2}", point.known_p50),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomlog_core::archive::Window;
    use roomlog_testkit::fixtures::{Speaker, window};

    /// Every layout, empty, in a directory of its own.
    fn each(test: impl Fn(&str, &mut dyn Contender)) {
        for kind in Kind::value_variants() {
            let dir = tempfile::tempdir().expect("a directory");
            test(&kind.name(), kind.open(dir.path()).expect("a layout").as_mut());
        }
    }

    fn input() -> Input {
        Input::new(3, IdForm::Random, Rooms::new(Spread::Zipf, 3)).expect("an input")
    }

    #[test]
    fn every_layout_gives_back_what_was_folded() {
        each(|name, contender| {
            let mut input = input();
            let windows: Vec<Window> =
                (0..3).map(|_| input.window(250).expect("a window")).collect();
            windows.iter().for_each(|window| contender.fold(window).expect(name));
            let room = input.name(0).expect("a name").1.room;
            let commits = windows.iter().flat_map(|window| &window.commits);
            let of_room = commits.filter(|commit| commit.room == room);
            let all: Vec<_> = of_room.flat_map(|commit| commit.entries.clone()).collect();
            for span in [0..all.len(), 0..1, 63..65, 100..150] {
                let page = contender.page(&room, span.start as u64..span.end as u64).expect(name);
                assert_eq!(page, all[span], "{name}");
            }
            let beyond = all.len() as u64;
            assert!(contender.page(&room, beyond..beyond + 1).is_err(), "{name}");
            let known = |n| contender.find(&[input.name(n).expect("a name").1]).expect(name)[0];
            let first = known(0).expect(name);
            assert_eq!((first.slot, first.committed_at), (0, all[0].entry.committed_at), "{name}");
            assert!(known(749).is_some() && known(750).is_none(), "{name}");
        });
    }

    #[test]
    fn no_layout_takes_an_id_twice() {
        each(|name, contender| {
            let mut room = Speaker::new("a");
            contender.fold(&window(1, &[room.says(1, &["one", "two"])])).expect(name);
            let again = contender.fold(&window(2, &[room.says(2, &["one"])]));
            assert!(again.is_err(), "{name}");
        });
    }
}
