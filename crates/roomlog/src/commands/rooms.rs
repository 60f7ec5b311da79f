//! `roomlog rooms`: all rooms and their latest slots.

use serde_json::json;

use super::{connect, printer::Printer};
use crate::{cli::RoomsArgs, failure::Failure};

pub(crate) async fn run(args: RoomsArgs) -> Result<(), Failure> {
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
