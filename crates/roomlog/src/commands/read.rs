//! `roomlog read`: a range of a room's log, page by page.

use roomlog_protocol::latest_of;

use super::{connect, printer::Printer};
use crate::{cli::ReadArgs, failure::Failure, stderr::message};

pub(crate) async fn run(args: ReadArgs) -> Result<(), Failure> {
    if args.count == 0 && args.after.is_none() {
        return Ok(());
    }
    let client = connect(&args.server, |_| ()).await?;
    let mut printer = Printer::new(args.json);
    // Slots are positions in this log: if the server changes to another one, the command fails.
    let log = client.hello().log.clone();
    let mut pages = match args.after {
        Some(after) => client.pages(args.room.clone(), after).of(&log),
        None => {
            let end = client.page(args.room.clone(), 0, args.upto).await?.digest_at;
            let count = i64::try_from(args.count).unwrap_or(i64::MAX);
            let after = end.saturating_sub(count).max(latest_of(0));
            client.pages(args.room.clone(), after).upto(end).of(&log)
        }
    };
    let mut empty = true;
    while let Some(page) = pages.next().await? {
        empty = false;
        page.entries.iter().try_for_each(|entry| printer.entry(entry))?;
        printer.flush()?;
    }
    if empty {
        let latest = client.page(args.room.clone(), 0, None).await?.latest;
        if latest < 0 {
            return Err(Failure::never_written(&args.room));
        }
        message!("{} ends at slot {latest}; no entry follows it yet", args.room);
    }
    client.close().await;
    Ok(())
}
