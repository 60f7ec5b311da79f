//! The tables that a file may have: exactly those that this build makes.
//!
//! Enters: a file that anyone may have written, such as a backup. Leaves: nothing, or what differs.
//! Invariant: before it is accepted, no statement reads anything but its list of tables; so a
//! trigger, view, index, generated column or `CHECK` of someone else never runs.

use rusqlite::{Connection, Row};

use crate::error::{check_format, refused};

/// The tables of one kind of file.
pub(crate) struct Schema {
    /// The statements that make them.
    pub(crate) tables: &'static str,
    pub(crate) format: i64,
}

/// Each statement that made the table `log` in any format: these are plain tables, whose `format`
/// can be read whatever else is in the file.
const LOGS: [&str; 2] = [
    "CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT",
    "CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT",
];

/// More rows than any schema of ours has.
const MOST: i64 = 64;

/// How much of a name is shown, in characters.
const SHOWN: usize = 64;

/// A row of `sqlite_schema`.
#[derive(PartialEq, Eq)]
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

impl Object {
    fn is(&self, other: &Self) -> bool {
        (&self.kind, &self.name) == (&other.kind, &other.name)
    }

    fn shown(&self) -> String {
        let shown = |name: &str| name.chars().take(SHOWN).collect::<String>();
        let (kind, name) = (shown(&self.kind), shown(&self.name));
        if self.name == self.table {
            return format!("the {kind} {name:?}");
        }
        format!("the {kind} {name:?} of {:?}", shown(&self.table))
    }
}

/// Refuses a file whose tables are not those of the schema; an empty one is accepted.
pub(crate) fn check(file: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    let found = objects(file)?;
    if found.is_empty() {
        return Ok(());
    }
    let made = Connection::open_in_memory()?;
    made.execute_batch(schema.tables)?;
    let made = objects(&made)?;
    if found == made {
        return Ok(());
    }
    if let Some(format) = format_of(file, &found)? {
        check_format(format, schema.format).map_err(refused)?;
    }
    let what = difference(&found, &made);
    Err(refused(format!(
        "its tables are not those that this version makes: {what}; another program changed the \
         file, so it is not used: restore a backup that you trust. Nothing was changed"
    )))
}

fn objects(file: &Connection) -> rusqlite::Result<Vec<Object>> {
    let rows = "SELECT CAST(type AS TEXT), CAST(name AS TEXT), CAST(tbl_name AS TEXT), sql
        FROM sqlite_schema ORDER BY type, name LIMIT ?1";
    let read = |row: &Row<'_>| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    };
    file.prepare(rows)?.query_map([MOST], read)?.collect()
}

/// The format that a file says it has, if its table `log` is one that we made.
fn format_of(file: &Connection, found: &[Object]) -> rusqlite::Result<Option<i64>> {
    let is_ours = |it: &Object| {
        (&*it.kind, &*it.name) == ("table", "log")
            && it.sql.as_deref().is_some_and(|sql| LOGS.contains(&sql))
    };
    if !found.iter().any(is_ours) {
        return Ok(None);
    }
    let mut format = file.prepare("SELECT format FROM log LIMIT 1")?;
    format.query_map([], |row| row.get(0))?.next().transpose()
}

fn difference(found: &[Object], made: &[Object]) -> String {
    let other = |it: &&Object| !made.iter().any(|made| made.is(it));
    if let Some(extra) = found.iter().find(other) {
        return format!("{} is in it too", extra.shown());
    }
    match made.iter().find(|it| !found.contains(it)) {
        Some(missing) if !found.iter().any(|it| it.is(missing)) => {
            format!("{} is missing", missing.shown())
        }
        Some(changed) => format!("{} is made by another statement", changed.shown()),
        None => "one of them is there twice".into(),
    }
}
