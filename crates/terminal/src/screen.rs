//! The terminal while the chat runs: alternate screen, raw mode, bracketed paste.
//!
//! Enters: a terminal. Leaves: the same, restored on every exit. Invariant: what `enter` changes is
//! undone once, by [`Screen`]'s drop or by a panic on any thread, before its message is printed.

use std::{
    io::{self, IsTerminal, Stdout, stdout},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor::Show,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    terminal::{
        DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Terminal, backend::CrosstermBackend};

/// Whether the terminal has to be restored.
static ENTERED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

pub(crate) struct Screen {
    pub(crate) terminal: Terminal<CrosstermBackend<Stdout>>,
}

pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal() && stdout().is_terminal()
}

impl Screen {
    /// Enters the screen. After an error of the system the terminal is unchanged.
    pub(crate) fn enter() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                leave();
                before(panic);
            }));
        });
        take()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| leave())
    }

    /// Restores the terminal, stops this process as Ctrl-Z does, and enters the screen again.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        leave();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        take()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    ENTERED.store(true, Ordering::SeqCst);
    // Terminals disagree on emoji widths; without wrapping, a long row affects no other.
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, DisableLineWrap)
        .inspect_err(|_| leave())
}

fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        // Best effort: nothing helps if one fails.
        let _ =
            execute!(stdout(), EnableLineWrap, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Read,
        process::{Command, Stdio},
    };

    use rustix::{
        fs::{Mode, OFlags},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{LocalModes, tcgetattr},
    };

    use super::*;

    /// Set in the process that is to panic.
    const PANICS: &str = "ROOMLOG_TEST_PANICS";

    /// This test runs itself again, in a terminal of its own.
    #[test]
    fn a_panic_on_another_thread_restores_the_terminal_before_its_message() {
        if std::env::var_os(PANICS).is_some() {
            let _screen = Screen::enter().expect("a terminal");
            let panicked = std::thread::spawn(|| panic!("on purpose")).join();
            panicked.expect_err("a panic");
            return;
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
            .expect("its other end");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut child = Command::new("setsid")
            .arg("--ctty")
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture"])
            .arg(
                "screen::tests::a_panic_on_another_thread_restores_the_terminal_before_its_message",
            )
            .env(PANICS, "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("a process");
        assert!(child.wait().expect("a status").success());
        let modes = tcgetattr(&slave).expect("its settings").local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "it is raw still");

        drop(slave);
        // A terminal whose other end is gone ends with an error, when all is read.
        let (mut written, mut master) = (Vec::new(), File::from(master));
        let _ = master.read_to_end(&mut written);
        let written = String::from_utf8_lossy(&written);
        let at = |text: &str| written.find(text).unwrap_or_else(|| panic!("{text:?}: {written:?}"));
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l"));
        assert!(at("\x1b[?1049l") < at("on purpose"), "printed on the screen that goes away");
        assert_eq!(written.matches("\x1b[?1049l").count(), 1, "left twice");
    }
}
