//! `roomlog rooms`: all rooms and their latest slots.

use std::process::ExitCode;

use serde_json::json;

use super::{connect, output::Output};
use crate::{cli::RoomsArgs, failure::Failure};

pub(crate) async fn run(args: RoomsArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.server, |_| ()).await?;
    let mut output = Output::new(args.json);
    for (room, latest) in client.rooms().await? {
        if args.json {
            output.json(&json!({"room": room, "latest": latest}))?;
        } else {
            output.line(format_args!("{room}\t{latest}"))?;
        }
    }
    output.flush()?;
    client.close().await;
    Ok(ExitCode::SUCCESS)
}
