//! `roomlog verify`: is the server's digest the digest of its entries?
//!
//! Enters: all entries of a room, from slot 0, and the server's digests. Leaves: for each room, the
//! digest at its latest slot, the first slot where the two differ, or why it cannot be read. Invariant: every digest printed
//! as right was computed here, from entries.

use std::process::ExitCode;

use roomlog_client::{Client, ClientError};
use roomlog_protocol::{Digest, Entry, ErrorCode, Reply, RoomName, Slot, latest_of};

use super::{connect, output::Output, verify_directory::verify_directory};
use crate::{
    cli::VerifyArgs,
    failure::{DIFFERS, Failure},
    say,
};

pub(crate) async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    if let Some(dir) = &args.data {
        return verify_directory(dir, args.room.as_ref()).await;
    }
    let client = connect(&args.server, |_| ()).await?;
    let (named, rooms) = match args.room {
        Some(room) => (true, vec![room]),
        None => (false, client.rooms().await?.into_keys().collect()),
    };
    let mut output = Output::new(false);
    let mut wrong = 0;
    for room in &rooms {
        match check(&client, room).await.or_else(unreadable)? {
            Checked::Right { latest, .. } if latest < 0 && named => {
                return Err(Failure::never_written(room));
            }
            Checked::Right { latest, digest } => {
                output.line(format_args!("{room}\t{latest}\t{digest}\tok"))?;
            }
            Checked::Wrong { slot, why } => {
                wrong += 1;
                output.line(format_args!("{room}\t{slot}\twrong: {why}"))?;
            }
            Checked::Unreadable { why } => {
                wrong += 1;
                output.line(format_args!("{room}\t-\tcannot be read: {why}"))?;
            }
        }
        output.flush()?;
    }
    client.close().await;
    say!("{} of {} rooms are right", rooms.len() - wrong, rooms.len());
    Ok(if wrong > 0 { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

/// What came out for a room.
#[derive(Debug, PartialEq, Eq)]
enum Checked {
    Right { latest: i64, digest: Digest },
    Wrong { slot: i64, why: String },
    Unreadable { why: String },
}

/// A room that the server cannot read is a finding; the others are checked all the same.
fn unreadable(failure: Failure) -> Result<Checked, Failure> {
    match failure {
        Failure::Client(ClientError::Refused(error)) if error.code == ErrorCode::Unavailable => {
            Ok(Checked::Unreadable { why: error.message })
        }
        other => Err(other),
    }
}

async fn check(client: &Client, room: &RoomName) -> Result<Checked, Failure> {
    let mut chain = Chain::new(room);
    let mut pages = client.pages(room.clone(), latest_of(0));
    loop {
        let page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(ClientError::Hole { slot, instead, .. }) => {
                return Ok(Checked::Wrong { slot, why: format!("it is not there: {instead}") });
            }
            Err(error) => return Err(error.into()),
        };
        let digests = match chain.take(&page.entries) {
            Ok(digests) => digests,
            Err((slot, why)) => return Ok(Checked::Wrong { slot, why }),
        };
        let told = told(client, room, page, chain.last).await?;
        if told != chain.digest {
            return first_wrong(client, room, &digests).await;
        }
    }
    let told = client.page(room.clone(), 0, u64::try_from(chain.last).ok()).await?;
    if chain.last < 0 && told.latest >= 0 {
        // The room got its first entry between the two answers.
        return Ok(Checked::Right { latest: chain.last, digest: chain.digest });
    }
    if told.digest != chain.digest {
        let why = format!("the server says {}, the entries {}", told.digest, chain.digest);
        return Ok(Checked::Wrong { slot: chain.last, why });
    }
    Ok(Checked::Right { latest: chain.last, digest: chain.digest })
}

/// The server's digest at the last slot of a page.
async fn told(client: &Client, room: &RoomName, page: Reply, last: i64) -> Result<Digest, Failure> {
    if page.digest_at == last {
        return Ok(page.digest);
    }
    Ok(client.page(room.clone(), 0, u64::try_from(last).ok()).await?.digest)
}

/// The first slot of a page whose digest differs. Behind it all differ, so halving finds it.
async fn first_wrong(
    client: &Client,
    room: &RoomName,
    digests: &[(Slot, Digest)],
) -> Result<Checked, Failure> {
    let (mut right, mut wrong) = (0, digests.len().saturating_sub(1));
    while right < wrong {
        let middle = right.midpoint(wrong);
        let (slot, computed) = digests[middle];
        let told = client.page(room.clone(), 0, Some(slot)).await?.digest;
        if told == computed { right = middle + 1 } else { wrong = middle }
    }
    let (slot, computed) = digests[wrong];
    let told = client.page(room.clone(), 0, Some(slot)).await?.digest;
    let why = format!("the server's digest is {told}, its entries give {computed}");
    Ok(Checked::Wrong { slot: latest_of(slot + 1), why })
}

/// The digest as the entries give it; they come without a hole.
struct Chain {
    digest: Digest,
    last: i64,
    committed_at: u64,
}

impl Chain {
    fn new(room: &RoomName) -> Self {
        Self { digest: Digest::start(room), last: latest_of(0), committed_at: 0 }
    }

    /// The digest after each entry; or the slot that breaks a rule no digest shows.
    fn take(&mut self, entries: &[Entry]) -> Result<Vec<(Slot, Digest)>, (i64, String)> {
        let mut digests = Vec::with_capacity(entries.len());
        for entry in entries {
            let slot = latest_of(entry.slot + 1);
            if entry.committed_at < self.committed_at {
                return Err((slot, "committed_at is earlier than that of the slot before".into()));
            }
            if entry.reference.is_some_and(|reference| reference >= entry.slot) {
                return Err((slot, "ref is not an earlier slot".into()));
            }
            self.digest = self.digest.then(entry);
            (self.last, self.committed_at) = (slot, entry.committed_at);
            digests.push((entry.slot, self.digest));
        }
        Ok(digests)
    }
}
