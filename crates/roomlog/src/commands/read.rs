//! `roomlog read`, `export` and `rooms`: print what a server has, and end.

use roomlog_protocol::Latest;
use serde_json::json;

use super::{connect, printer::Printer};
use crate::{
    cli::{ExportArgs, ReadArgs, RoomsArgs},
    failure::Failure,
    stderr::message,
};

/// Prints a range of a room's log, page by page.
pub(crate) async fn read(args: ReadArgs) -> Result<(), Failure> {
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
        message!("{} ends at slot {latest}; no entry follows it yet", args.room);
    }
    client.close().await;
    Ok(())
}

/// Prints a room's entire log as JSON, one entry per line, from slot 0.
pub(crate) async fn export(args: ExportArgs) -> Result<(), Failure> {
    let client = connect(&args.server, |_| ()).await?;
    let mut printer = Printer::new(true);
    let mut pages = client.pages(args.room.clone(), Latest::EMPTY);
    let mut count = 0;
    while let Some(page) = pages.next().await? {
        count += page.entries.len();
        page.entries.iter().try_for_each(|entry| printer.entry(entry))?;
    }
    printer.flush()?;
    if count == 0 {
        return Err(Failure::never_written(&args.room));
    }
    message!("exported {count} entries of {}", args.room);
    client.close().await;
    Ok(())
}

/// Prints all rooms and their latest slots.
pub(crate) async fn rooms(args: RoomsArgs) -> Result<(), Failure> {
    let client = connect(&args.server, |_| ()).await?;
    let mut printer = Printer::new(args.json);
    for (room, latest) in client.rooms().await? {
        if args.json {
            printer.json(&json!({"room": room, "latest": latest}))?;
        } else {
            printer.line(format_args!("{room}\t{latest}"))?;
        }
    }
    printer.flush()?;
    client.close().await;
    Ok(())
}
