//! `roomlog chat`: the rooms in a terminal.

use super::connect;
use crate::{cli::ChatArgs, failure::Failure};

pub(crate) async fn run(args: ChatArgs) -> Result<(), Failure> {
    let client = connect(&args.server, |options| options.retry_timeout = None).await?;
    let server = args.server.server.to_string();
    Ok(roomlog_terminal::run(client, args.server.author(), server, args.room).await?)
}
