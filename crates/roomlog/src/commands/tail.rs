//! `roomlog tail`: the newest entries, then every later one as it comes.
//!
//! Enters: a following. Leaves: its entries, in slot order, without a gap, over restarts of the
//! server. Ends with Ctrl-C, or when nobody reads any more.

use std::{collections::BTreeSet, process::ExitCode};

use roomlog_client::{Followed, Reset, Start, State};

use super::{connect, output::Output};
use crate::{cli::TailArgs, failure::Failure};

pub(crate) async fn run(args: TailArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.server, |options| options.patience = None).await?;
    let mut output = Output::new(args.json);
    let start = args.after.map_or(Start::Newest(args.count), Start::After);
    let mut follow = client.follow(args.room.clone(), start).await?;
    let (mut state, mut talk) = (client.state(), Talk::default());
    loop {
        tokio::select! {
            followed = follow.next() => match followed? {
                Followed::Entries(entries) => {
                    entries.iter().try_for_each(|entry| output.entry(entry))?;
                    output.flush()?;
                }
                Followed::Reset(why) => tell_reset(&args, why),
                Followed::Waiting(why) => {
                    eprintln!("roomlog: {} cannot be followed ({why}); trying again", args.room);
                }
            },
            Ok(()) = state.changed() => talk.state(&state.borrow_and_update()),
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn tell_reset(args: &TailArgs, why: Reset) {
    let why = match why {
        Reset::NewLog => "the server now has another log",
        Reset::Diverged => "the server's digest differs",
    };
    eprintln!(
        "roomlog: {why}: what was printed of {} is no longer its log; its newest entries follow",
        args.room
    );
}

/// What was said of the connection: each reason once, until there is a connection again.
#[derive(Default)]
struct Talk {
    reasons: BTreeSet<String>,
}

impl Talk {
    fn state(&mut self, state: &State) {
        match state {
            State::Connected => {
                self.reasons.clear();
                eprintln!("roomlog: connected again");
            }
            State::Reconnecting(why) => {
                if self.reasons.insert(why.clone()) {
                    eprintln!("roomlog: not connected ({why}); trying again");
                }
            }
        }
    }
}
