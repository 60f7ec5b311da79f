//! `roomlog export`: a room's entire log as JSON, one entry per line, from slot 0.

use roomlog_protocol::Latest;

use super::{connect, printer::Printer};
use crate::{cli::ExportArgs, failure::Failure, say};

pub(crate) async fn run(args: ExportArgs) -> Result<(), Failure> {
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
    say!("exported {count} entries of {}", args.room);
    client.close().await;
    Ok(())
}
