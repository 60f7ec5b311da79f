//! `roomlog tail`: the newest entries, then every later one as it comes.
//!
//! Enters: a following. Leaves: its entries, in slot order, without a gap, over restarts of the
//! server. Ends with Ctrl-C, or when nobody reads any more.

use std::{collections::BTreeSet, process::ExitCode};

use roomlog_client::{Followed, Reset, Start, State};

use super::{connect, output::Output};
use crate::{cli::TailArgs, failure::Failure, say};

pub(crate) async fn run(args: TailArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.server, |options| options.patience = None).await?;
    let mut output = Output::new(args.json);
    let start = args.after.map_or(Start::Newest(args.count), Start::After);
    // Not beside the loop below: there standard output may wait for a reader that has stopped reading.
    tokio::spawn(async {
        super::interrupted().await;
        say::flush();
        std::process::exit(0);
    });
    let mut follow = client.follow(args.room.clone(), start).await?;
    let (mut state, mut talk) = (client.state(), Talk::default());
    let (head, mut asked) = (client.page(args.room.clone(), 0, None), true);
    tokio::pin!(head);
    loop {
        tokio::select! {
            // What is wrong with the room is said by the following.
            head = &mut head, if asked => {
                asked = false;
                if head.is_ok_and(|head| head.latest < 0) {
                    say!("nothing was ever written to {}; waiting for its first entry", args.room);
                }
            }
            followed = follow.next() => match followed? {
                Followed::Entries(entries) => {
                    entries.iter().try_for_each(|entry| output.entry(entry))?;
                    output.flush()?;
                }
                Followed::Reset(why) => tell_reset(&args, why),
                Followed::Waiting(why) => {
                    say!("{} cannot be followed ({why}); trying again", args.room);
                }
            },
            Ok(()) = state.changed() => {
                if let Some(news) = talk.news(&state.borrow_and_update()) {
                    say!("{news}");
                }
            }
        }
    }
}

fn tell_reset(args: &TailArgs, why: Reset) {
    let why = match why {
        Reset::NewLog => "the server now has another log",
        Reset::Diverged => "the server's digest differs",
    };
    say!(
        "{why}: what was printed of {} is no longer its log; its newest entries follow",
        args.room
    );
}

/// What was said of the connection: each reason once, until there is a connection again.
#[derive(Default)]
struct Talk {
    reasons: BTreeSet<String>,
}

impl Talk {
    /// What there is to say of a state, unless it was said.
    fn news(&mut self, state: &State) -> Option<String> {
        match state {
            State::Connected => {
                self.reasons.clear();
                Some("connected again".into())
            }
            State::Reconnecting(why) => {
                let news = self.reasons.insert(why.clone());
                news.then(|| format!("not connected ({why}); trying again"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_until_there_is_a_connection() {
        let mut talk = Talk::default();
        let states = ["closed", "refused", "refused", "closed", "", "refused"];
        let said = states.map(|why| match why {
            "" => talk.news(&State::Connected),
            why => talk.news(&State::Reconnecting(why.into())),
        });
        let lost = |why: &str| Some(format!("not connected ({why}); trying again"));
        let back = Some("connected again".to_owned());
        assert_eq!(said, [lost("closed"), lost("refused"), None, None, back, lost("refused")]);
    }
}
