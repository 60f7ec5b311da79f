//! Runs `roomlog chat` in a terminal.

use tempfile::TempDir;

use super::{Client, Server, Terminal};

pub(crate) const ENTER: &str = "\r";
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_N: &str = "\x0e";
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const PAGE_UP: &str = "\x1b[5~";
pub(crate) const ALT_HOME: &str = "\x1b[1;3H";
pub(crate) const ESC: &str = "\x1b";

/// A user with a terminal, and the directory where `chat` saves what was read.
pub(crate) struct Person {
    pub(crate) terminal: Terminal,
    _state: TempDir,
}

/// A terminal of these rows and columns, with `state` as the directory of the read marks.
pub(crate) fn chat_in(
    server: &Server,
    args: &[&str],
    state: &str,
    (rows, columns): (u16, u16),
) -> Terminal {
    let url = format!("http://{}", server.address);
    let env = [("ROOMLOG_SERVER", url.as_str()), ("XDG_STATE_HOME", state), ("TZ", "UTC")];
    let args: Vec<_> = ["chat"].iter().chain(args).copied().collect();
    Terminal::run(env!("CARGO_BIN_EXE_roomlog"), &args, &env, rows, columns)
}

/// Ada's terminal of 24 rows and 100 columns, in room general.
pub(crate) async fn ada(server: &Server) -> Person {
    let state = tempfile::tempdir().expect("a directory");
    let path = state.path().to_str().expect("UTF-8");
    let terminal = chat_in(server, &["--author", "ada"], path, (24, 100));
    terminal.shows(&["Write to general", "● ada"]).await;
    Person { terminal, _state: state }
}

impl Person {
    pub(crate) fn say(&mut self, text: &str) {
        self.terminal.keys(&format!("{text}{ENTER}"));
    }
}

pub(crate) async fn bodies(client: &mut Client, room: &str) -> Vec<String> {
    let log = client.whole_log(room).await;
    log.iter().map(|entry| entry["body"].as_str().expect("a body").to_owned()).collect()
}
