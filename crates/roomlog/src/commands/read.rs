//! `roomlog read`: a range of a room's log, page by page.

use roomlog_protocol::Latest;

use super::{connect, printer::Printer};
use crate::{cli::ReadArgs, failure::Failure, say};

pub(crate) async fn run(args: ReadArgs) -> Result<(), Failure> {
    if args.count == 0 && args.after.is_none() {
        return Ok(());
    }
    let client = connect(&args.server, |_| ()).await?;
    let mut printer = Printer::new(args.json);
    // Slots are positions in this log: if the server changes to another one, the command fails.
    let log = client.hello().log.clone();
    let mut pages = match args.after {
        Some(after) => client.pages(args.room.clone(), Latest(after)).of(&log),
        None => {
            let end = client.page(args.room.clone(), 0, args.upto).await?.digest_at;
            let after = Latest::before(end.end().saturating_sub(args.count));
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
        if latest == Latest::EMPTY {
            return Err(Failure::never_written(&args.room));
        }
        say!("{} ends at slot {latest}; no entry follows it yet", args.room);
    }
    client.close().await;
    Ok(())
}
