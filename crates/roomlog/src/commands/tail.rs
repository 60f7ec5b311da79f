//! `roomlog tail`: the newest entries, then every later one as it arrives.
//!
//! Entries are printed in slot order without a gap, across restarts of the server. Ends with
//! Ctrl-C, or when the reader of standard output exits.

use std::collections::BTreeSet;

use roomlog_client::{Followed, Reset, Start, State};
use roomlog_protocol::Latest;

use super::{connect, printer::Printer};
use crate::{
    cli::TailArgs,
    failure::Failure,
    stderr::{self, message},
};

pub(crate) async fn run(args: TailArgs) -> Result<(), Failure> {
    let client = connect(&args.server, |options| options.retry_timeout = None).await?;
    let mut printer = Printer::new(args.json);
    let start = args.after.map_or(Start::Newest(args.count), |after| Start::After(Latest(after)));
    // A task of its own: the loop below may block on standard output.
    tokio::spawn(async {
        super::interrupted().await;
        stderr::flush();
        std::process::exit(0);
    });
    let mut follow = client.follow(args.room.clone(), start).await?;
    let (mut state, mut reasons) = (client.state(), BTreeSet::new());
    let (head, mut asked) = (client.page(args.room.clone(), 0, None), true);
    tokio::pin!(head);
    loop {
        tokio::select! {
            // An error of the room is reported by `follow`.
            head = &mut head, if asked => {
                asked = false;
                if head.is_ok_and(|head| head.latest == Latest::EMPTY) {
                    message!("room {} has no entries; waiting for the first one", args.room);
                }
            }
            followed = follow.next() => match followed? {
                Followed::Entries(entries) => {
                    entries.iter().try_for_each(|entry| printer.entry(entry))?;
                    printer.flush()?;
                }
                Followed::Reset(why) => warn_of_reset(&args, why),
                Followed::Waiting(why) => {
                    message!("{} cannot be followed ({why}); trying again", args.room);
                }
            },
            Ok(()) = state.changed() => {
                if let Some(news) = news(&mut reasons, &state.borrow_and_update()) {
                    message!("{news}");
                }
            }
        }
    }
}

fn warn_of_reset(args: &TailArgs, why: Reset) {
    let why = match why {
        Reset::NewLog => "the server now has another log",
        Reset::Diverged => "the server's digest differs",
    };
    message!(
        "{why}: the entries of {} printed so far are no longer valid; its newest entries follow",
        args.room
    );
}

/// What to report of the connection: each reason once until it is connected again.
fn news(reasons: &mut BTreeSet<String>, state: &State) -> Option<String> {
    match state {
        State::Connected => {
            reasons.clear();
            Some("connected again".into())
        }
        State::Reconnecting(why) => {
            let is_new = reasons.insert(why.clone());
            is_new.then(|| format!("not connected ({why}); trying again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_reported_once_until_connected() {
        let mut reasons = BTreeSet::new();
        let states = ["closed", "refused", "refused", "closed", "", "refused"];
        let reported = states.map(|why| match why {
            "" => news(&mut reasons, &State::Connected),
            why => news(&mut reasons, &State::Reconnecting(why.into())),
        });
        let lost = |why: &str| Some(format!("not connected ({why}); trying again"));
        let back = Some("connected again".to_owned());
        assert_eq!(reported, [lost("closed"), lost("refused"), None, None, back, lost("refused")]);
    }
}
