//! `roomlog chat`: the rooms in a terminal.

use std::process::ExitCode;

use super::connect;
use crate::{cli::ChatArgs, failure::Failure};

pub(crate) async fn run(args: ChatArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.server, |options| options.patience = None).await?;
    let server = args.server.server.to_string();
    roomlog_terminal::run(client, args.server.author(), server, args.room).await?;
    Ok(ExitCode::SUCCESS)
}
