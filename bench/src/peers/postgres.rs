//! PostgreSQL with `synchronous_commit = on`: a table with gapless slots, NOTIFY to followers, SELECT to read.
//!
//! ```text
//!  once per connection: Parse     each append: Bind, Execute, Sync ─► … ReadyForQuery
//! ```
//!
//! Enters: appends. Leaves: messages of the protocol v3. Invariants: an append is one statement and one
//! transaction, which takes the next slot of its room; more in flight are sent one after another (pipelining).

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Signal, geteuid};

use super::{
    pgwire::{ask, counted, first_message, put_execute, put_parse, put_query, refused},
    system::{
        Ack, Author, Connected, PAGE, Pager, Reader, Running, System, connect, free_addr, is_page,
        name, read_pages,
    },
};
use crate::frame::count_entries;

/// Where Debian's packages put each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The user who runs it if we are root, which PostgreSQL refuses.
const USER: &str = "postgres";

/// How many entries a reader asks for at once.
const READ: u64 = 1_000;

/// Settings that differ from the defaults, or on which the comparison depends.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "max_connections=150",
];

const TABLES: &str = "CREATE TABLE rooms (room text PRIMARY KEY, next bigint NOT NULL); \
    CREATE TABLE entries (room text NOT NULL, slot bigint NOT NULL, author text NOT NULL, \
    id text NOT NULL, body text NOT NULL, PRIMARY KEY (room, slot), UNIQUE (room, author, id))";

/// Takes the next slot of room $1, and inserts author $2, id $3 and body $4.
const APPEND: &str = "WITH r AS (UPDATE rooms SET next = next + 1 WHERE room = $1 \
    RETURNING next - 1 AS slot) INSERT INTO entries (room, slot, author, id, body) \
    SELECT $1, slot, $2, $3, $4 FROM r RETURNING slot";

/// The same, and tells the followers of the room.
const TELL: &str = "WITH r AS (UPDATE rooms SET next = next + 1 WHERE room = $1 \
    RETURNING next - 1 AS slot), e AS (INSERT INTO entries (room, slot, author, id, body) \
    SELECT $1, slot, $2, $3, $4 FROM r RETURNING slot) \
    SELECT slot, pg_notify($1, slot || ' ' || $2 || ' ' || $3 || ' ' || $4) FROM e";

/// The entries of room $1 from slot $2 on, $3 at the most.
const SELECT: &str = "SELECT slot, author, id, body FROM entries WHERE room = $1 AND slot >= $2 \
    ORDER BY slot LIMIT $3";

/// The code of its refusal while it starts up, `cannot_connect_now`.
const STARTING: &str = "57P03";

/// The types of the parameters, see pg_type.dat.
const TEXT: u32 = 25;
const BIGINT: u32 = 20;

/// The server.
pub(crate) struct Postgres;

/// An author with this name; its connection has a prepared append.
struct Statements(String);

/// Connects and logs in. It listens before it accepts sessions, so one that is refused is tried again.
fn session(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut out = Vec::new();
    counted(&mut out, |out| {
        // Version 3.0.
        out.extend_from_slice(&[0, 3, 0, 0]);
        out.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    });
    for wait in [100, 300, 1_000, 3_000] {
        let mut stream = connect(addr)?;
        match ask(&mut stream, &out, &mut Vec::new()) {
            Ok(()) => return Ok(stream),
            Err(error) if error.to_string().contains(STARTING) => {
                thread::sleep(Duration::from_millis(wait));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("PostgreSQL is starting up for too long"))
}

fn query(stream: &mut TcpStream, sql: &str) -> io::Result<()> {
    let mut out = Vec::new();
    put_query(&mut out, sql);
    ask(stream, &out, &mut Vec::new())
}

/// Connects and prepares a statement.
fn prepared(addr: SocketAddr, sql: &str, types: &[u32]) -> io::Result<TcpStream> {
    let (mut stream, mut out) = (session(addr)?, Vec::new());
    put_parse(&mut out, sql, types);
    ask(&mut stream, &out, &mut Vec::new())?;
    Ok(stream)
}

/// Connects author `number`, who appends by this statement.
fn author(addr: SocketAddr, number: usize, sql: &str) -> io::Result<Connected> {
    let stream = prepared(addr, sql, &[TEXT; 4])?;
    Ok((stream, Box::new(Statements(format!("author-{number}")))))
}

/// A connection that selects entries: room, first slot, and how many at the most. It returns how many came.
fn selector(addr: SocketAddr, room: u32) -> io::Result<impl FnMut(u64, u64) -> io::Result<u64>> {
    let mut stream = prepared(addr, SELECT, &[TEXT, BIGINT, BIGINT])?;
    let (room, mut out, mut reply) = (name(room), Vec::new(), Vec::new());
    Ok(move |first: u64, most: u64| {
        out.clear();
        put_execute(&mut out, &[&room, &first.to_string(), &most.to_string()]);
        ask(&mut stream, &out, &mut reply)?;
        Ok(count_entries(&reply))
    })
}

/// The directory with the programs of the newest version.
fn programs() -> io::Result<PathBuf> {
    let missing = || io::Error::other(format!("no PostgreSQL in {VERSIONS}: install its package"));
    let versions = fs::read_dir(VERSIONS).map_err(|_| missing())?.flatten();
    let numbers = versions.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let newest = numbers.max().ok_or_else(missing)?;
    Ok(Path::new(VERSIONS).join(newest.to_string()).join("bin"))
}

/// Runs a program as a user that PostgreSQL accepts. setpriv becomes that program, so signals reach it.
fn as_user(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
    command.arg(program);
    command
}

/// Runs a command to its end.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let failed = |why: &str| io::Error::other(format!("{command:?}: {why}"));
    let output = output.map_err(|error| failed(&error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr))),
    }
}

/// Makes an empty data directory in `dir`, for the user who will run PostgreSQL.
fn make_data(dir: &Path) -> io::Result<PathBuf> {
    let data = dir.join("data");
    if geteuid().is_root() {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        run(Command::new("install").args(["-d", "-m", "700", "-o", USER, "-g", USER]).arg(&data))?;
    } else {
        fs::create_dir(&data)?;
    }
    Ok(data)
}

impl Author for Statements {
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, _place: usize) {
        put_execute(out, &[&name(room), &self.0, &ulid::Ulid::generate().to_string(), body]);
    }

    fn answers(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        let mut rest = input;
        while let Some((kind, body, after)) = first_message(rest) {
            match kind {
                b'E' => return Err(refused(body)),
                // CommandComplete ends with how many rows it had: none without a row of the room.
                b'C' if !body.ends_with(b" 1\0") => {
                    return Err(io::Error::other("an append to a room that is not there"));
                }
                b'Z' => acks.push(Ack::Oldest),
                _ => {}
            }
            rest = after;
        }
        Ok(input.len() - rest.len())
    }
}

impl System for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn ack(&self) -> &'static str {
        "fsync of the WAL (synchronous_commit on)"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        let (programs, data, addr) = (programs()?, make_data(dir)?, free_addr()?);
        let mut initdb = as_user(&programs.join("initdb"));
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]);
        run(initdb.arg(&data).current_dir(dir))?;
        let mut command = as_user(&programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &addr.port().to_string()]).current_dir(dir);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        // A fast shutdown; SIGTERM would wait for the clients.
        Ok(Running::start(&mut command, addr, dir)?.stopped_by(Signal::INT))
    }

    fn prepare(&self, addr: SocketAddr, rooms: u32) -> io::Result<()> {
        let mut stream = session(addr)?;
        query(&mut stream, TABLES)?;
        let rows: Vec<_> = (0..rooms).map(|room| format!("('{}', 0)", name(room))).collect();
        query(&mut stream, &format!("INSERT INTO rooms VALUES {}", rows.join(", ")))
    }

    fn author(&self, addr: SocketAddr, number: usize) -> io::Result<Connected> {
        author(addr, number, APPEND)
    }

    /// Loading is not measured. Its appends would be synced one after another, for they share a connection.
    fn loader(&self, addr: SocketAddr) -> io::Result<Connected> {
        let (mut stream, author) = author(addr, 0, APPEND)?;
        query(&mut stream, "SET synchronous_commit = off")?;
        Ok((stream, author))
    }

    fn teller(&self, addr: SocketAddr) -> io::Result<Connected> {
        author(addr, 0, TELL)
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        let mut stream = session(addr)?;
        query(&mut stream, &format!("LISTEN \"{}\"", name(room)))?;
        Ok(Some(stream))
    }

    /// Each follower is a process of the server.
    fn most_followers(&self) -> usize {
        100
    }

    fn reader(
        &self,
        addr: SocketAddr,
        room: u32,
        first: u64,
        count: u64,
    ) -> io::Result<Option<Reader>> {
        let mut select = selector(addr, room)?;
        Ok(Some(Box::new(move || read_pages(first, count, |slot| select(slot, READ)))))
    }

    fn pager(&self, addr: SocketAddr, room: u32) -> io::Result<Option<Pager>> {
        let mut select = selector(addr, room)?;
        Ok(Some(Box::new(move |slot| is_page(select(slot, PAGE)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::pgwire::message;

    /// What follows an append that made one row.
    fn answer() -> Vec<u8> {
        let mut wire = Vec::new();
        message(&mut wire, b'2', |_| ());
        message(&mut wire, b'D', |out| out.extend_from_slice(b"\0\x01\0\0\0\x017"));
        message(&mut wire, b'C', |out| out.extend_from_slice(b"INSERT 0 1\0"));
        message(&mut wire, b'Z', |out| out.push(b'I'));
        wire
    }

    #[test]
    fn answers_are_taken_when_they_are_complete() {
        let wire = answer();
        for length in 0..=wire.len() {
            let (mut author, mut acks) = (Statements(String::new()), Vec::new());
            let mut answers = |input: &[u8]| author.answers(input, &mut Vec::new(), &mut acks);
            let taken = answers(&wire[..length]).expect("no refusal");
            assert_eq!(answers(&wire[taken..]).expect("no refusal"), wire.len() - taken);
            assert_eq!(acks, [Ack::Oldest], "split at {length}");
        }
    }

    #[test]
    fn refusals_and_appends_without_a_row_are_errors() {
        let (mut refusal, mut rowless) = (Vec::new(), Vec::new());
        message(&mut refusal, b'E', |out| out.extend_from_slice(b"SERROR\0C23505\0Mtwice\0\0"));
        message(&mut rowless, b'C', |out| out.extend_from_slice(b"INSERT 0 0\0"));
        let why = |wire: &[u8]| {
            let answers = Statements(String::new()).answers(wire, &mut Vec::new(), &mut Vec::new());
            answers.expect_err("an error").to_string()
        };
        assert_eq!(why(&refusal), "PostgreSQL: twice (23505)");
        assert!(why(&rowless).contains("not there"), "{}", why(&rowless));
    }
}
