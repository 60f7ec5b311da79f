//! `roomlog export`: a room's entire log as JSON, one entry per line, from slot 0.

use roomlog_protocol::latest_of;

use super::{connect, printer::Printer};
use crate::{cli::ExportArgs, failure::Failure, stderr::message};

pub(crate) async fn run(args: ExportArgs) -> Result<(), Failure> {
    let client = connect(&args.server, |_| ()).await?;
    let mut printer = Printer::new(true);
    let mut pages = client.pages(args.room.clone(), latest_of(0));
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
