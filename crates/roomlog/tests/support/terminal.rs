//! A terminal for a program: a pseudo-terminal, and what a screen would show of it.
//!
//! Enters: keys. Leaves: the screen's text, every byte that came, the terminal's settings. Invariant: whoever waits
//! is woken by what the program writes, and the program ends with the test.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZeroU16,
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::{
    process::{Child, Command},
    sync::watch,
};

use super::within;

/// A program in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    /// Kept open, so that what was written last is still read when the program is gone.
    slave: OwnedFd,
    before: Termios,
    parser: Arc<Mutex<vt100::Parser>>,
    bytes: Arc<Mutex<Vec<u8>>>,
    text: watch::Receiver<String>,
}

impl Terminal {
    /// Runs the program, with its arguments and environment, in a terminal of this size.
    pub(crate) fn run(
        program: &str,
        args: &[&str],
        env: &[(&str, &str)],
        rows: u16,
        columns: u16,
    ) -> Self {
        let (master, slave) = pair();
        set_size(&slave, rows, columns);
        let before = tcgetattr(&slave).expect("its settings");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let child = Command::new("setsid")
            .args(["--ctty", program])
            .args(args)
            .envs(env.iter().copied())
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let parser = vt100::Parser::new(cells(rows), cells(columns), 0);
        let parser = Arc::new(Mutex::new(parser));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (sender, text) = watch::channel(String::new());
        let master = File::from(master);
        let reader = master.try_clone().expect("a descriptor");
        std::thread::spawn({
            let (parser, bytes) = (parser.clone(), bytes.clone());
            move || read(reader, &parser, &bytes, &sender)
        });
        Self { child, master, slave, before, parser, bytes, text }
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Pastes, as a terminal does for a program that asked for it.
    pub(crate) fn paste(&mut self, text: &str) {
        self.keys(&format!("\x1b[200~{text}\x1b[201~"));
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.text.borrow().clone()
    }

    /// Waits until all of this is on the screen.
    pub(crate) async fn shows(&self, all: &[&str]) -> String {
        self.until(&format!("{all:?}"), |screen| all.iter().all(|text| screen.contains(text))).await
    }

    /// Waits until the screen is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut text = self.text.clone();
        match tokio::time::timeout(super::PATIENCE, text.wait_for(|screen| is_so(screen))).await {
            Ok(screen) => screen.expect("a terminal").clone(),
            Err(_) => panic!("{what} did not come on the screen:\n{}", self.screen()),
        }
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.parser.lock().expect("no panic").screen_mut().set_size(cells(rows), cells(columns));
        set_size(&self.slave, rows, columns);
    }

    /// Every byte that the program wrote.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("no panic").clone()
    }

    pub(crate) fn process(&self) -> &Child {
        &self.child
    }

    /// Waits for the end of the program: its exit code and what is on the screen then.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, String) {
        let status = within("the end of the program", self.child.wait()).await.expect("a status");
        // A line of our own from the other end comes after all that the program wrote.
        let end = "·end·";
        let mut slave = File::from(self.slave.try_clone().expect("a descriptor"));
        slave.write_all(end.as_bytes()).expect("written");
        let screen = self.shows(&[end]).await;
        (status.code(), screen.replace(end, ""))
    }

    /// What of the terminal is not as it was before the program, in words; empty: nothing.
    pub(crate) fn differences(&self) -> Vec<&'static str> {
        let now = tcgetattr(&self.slave).expect("its settings");
        let parser = self.parser.lock().expect("no panic");
        let screen = parser.screen();
        let same = (self.before.input_modes, self.before.output_modes, self.before.local_modes)
            == (now.input_modes, now.output_modes, now.local_modes);
        let bytes = self.bytes();
        let last = |text: &str| bytes.windows(text.len()).rposition(|it| it == text.as_bytes());
        [
            (!same, "settings"),
            (screen.alternate_screen(), "alternate screen"),
            (screen.bracketed_paste(), "bracketed paste"),
            (screen.hide_cursor(), "no cursor"),
            (last("\x1b[?7l") > last("\x1b[?7h"), "no line wrap"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

/// Both ends of a new pseudo-terminal: that of the screen, and that of the program. When the first is
/// closed, the terminal hangs up.
pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pseudo-terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    (master, slave.expect("its other end"))
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a size")
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a size");
}

fn read(
    mut reader: File,
    parser: &Mutex<vt100::Parser>,
    bytes: &Mutex<Vec<u8>>,
    text: &watch::Sender<String>,
) {
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        bytes.lock().expect("no panic").extend_from_slice(&buffer[..count]);
        let mut parser = parser.lock().expect("no panic");
        parser.process(&buffer[..count]);
        text.send_replace(parser.screen().contents());
    }
}
