//! Verifies the rooms of a running server: chains the entries from slot 0 and compares with its
//! digests.

use std::{process::ExitCode, time::Duration};

use roomlog_client::{Client, ClientError};
use roomlog_protocol::{Digest, Entry, ErrorCode, Latest, Reply, RoomName, Slot};

use super::{
    report::{Checked, Report, Wrong},
    texts::Texts,
};
use crate::{cli::VerifyArgs, commands::connect, failure::Failure};

/// How often, and after what time, removals are looked for again before a redacted entry is wrong.
const STRAY_TRIES: usize = 10;
const STRAY_WAIT: Duration = Duration::from_millis(500);

pub(super) async fn verify(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.server, |_| ()).await?;
    let rooms = match &args.room {
        Some(room) => vec![room.clone()],
        None => client.rooms().await?.into_keys().collect(),
    };
    let mut report = Report::new();
    for room in &rooms {
        match check(&client, room).await {
            Ok((latest, _)) if latest == Latest::EMPTY && args.room.is_some() => {
                return Err(Failure::never_written(room));
            }
            // The other rooms are checked nevertheless.
            Err(Wrong::Failed(Failure::Client(ClientError::Refused(error))))
                if error.code == ErrorCode::Unavailable =>
            {
                report.unreadable(room, &error.message)?;
            }
            checked => report.checked(room, checked)?,
        }
    }
    client.close().await;
    report.finish(None)
}

async fn check(client: &Client, room: &RoomName) -> Checked {
    let (mut chain, mut texts) = (DigestChain::new(room), Texts::default());
    let mut pages = client.pages(room.clone(), Latest::EMPTY);
    loop {
        let page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(ClientError::Hole { slot, instead, .. }) => {
                return Err(Wrong::at(slot, format!("it is missing: {instead}")));
            }
            Err(error) => return Err(error.into()),
        };
        let digests = chain.take(&page.entries)?;
        page.entries.iter().for_each(|entry| texts.note(entry));
        if digest_at(client, room, page, chain.last).await? != chain.digest {
            return Err(first_wrong(client, room, &digests).await?);
        }
    }
    let end = client.page(room.clone(), 0, chain.last.slot()).await?;
    // A room that was empty may have got its first entry since.
    let began = chain.last == Latest::EMPTY && end.latest > chain.last;
    if !began && end.digest != chain.digest {
        return Err(differs(chain.last, end.digest, chain.digest));
    }
    check_texts(client, room, chain.last, texts).await?;
    Ok((chain.last, chain.digest))
}

/// Reads again what is redacted or should be, up to slot `last`.
async fn check_texts(
    client: &Client,
    room: &RoomName,
    mut last: Latest,
    mut texts: Texts,
) -> Result<(), Wrong> {
    let again: Vec<_> = texts.to_read(last.end()).collect();
    for slots in again {
        let (after, upto) = (Latest::before(slots.start), Latest::before(slots.end));
        let mut pages = client.pages(room.clone(), after).upto(upto);
        while let Some(page) = pages.next().await? {
            let (stray, others): (Vec<_>, Vec<_>) =
                page.entries.iter().partition(|entry| texts.is_stray(entry));
            others.into_iter().try_for_each(|entry| texts.check(entry))?;
            for _ in 0..STRAY_TRIES {
                if !stray.iter().any(|entry| texts.is_stray(entry)) {
                    break;
                }
                // Their texts may have been removed since the room was read; and a node of a cluster that
                // is behind reads blocks without texts before it reads what removed them.
                last = note_removals(client, room, last, &mut texts).await?;
                tokio::time::sleep(STRAY_WAIT).await;
            }
            stray.into_iter().try_for_each(|entry| texts.check(entry))?;
        }
    }
    Ok(())
}

/// Notes the removals after slot `last`; the latest slot now.
async fn note_removals(
    client: &Client,
    room: &RoomName,
    mut last: Latest,
    texts: &mut Texts,
) -> Result<Latest, ClientError> {
    let mut pages = client.pages(room.clone(), last);
    while let Some(page) = pages.next().await? {
        page.entries.iter().for_each(|entry| texts.note_removal(entry));
        last = page.entries.last().map_or(last, |entry| Latest::at(entry.slot));
    }
    Ok(last)
}

fn differs(slot: Latest, theirs: Digest, computed: Digest) -> Wrong {
    Wrong::At(slot, format!("the server has digest {theirs}, the entries give {computed}"))
}

/// The server's digest at the last slot of a page.
async fn digest_at(
    client: &Client,
    room: &RoomName,
    page: Reply,
    last: Latest,
) -> Result<Digest, ClientError> {
    if page.digest_at == last {
        return Ok(page.digest);
    }
    Ok(client.page(room.clone(), 0, last.slot()).await?.digest)
}

/// The first slot of a page whose digest differs, by bisection: all later digests differ too.
async fn first_wrong(
    client: &Client,
    room: &RoomName,
    digests: &[(Slot, Digest)],
) -> Result<Wrong, ClientError> {
    let (mut right, mut wrong) = (0, digests.len().saturating_sub(1));
    while right < wrong {
        let middle = right.midpoint(wrong);
        let (slot, computed) = digests[middle];
        let theirs = client.page(room.clone(), 0, Some(slot)).await?.digest;
        if theirs == computed { right = middle + 1 } else { wrong = middle }
    }
    let (slot, computed) = digests[wrong];
    let theirs = client.page(room.clone(), 0, Some(slot)).await?.digest;
    Ok(differs(Latest::at(slot), theirs, computed))
}

/// The digest of consecutive entries from slot 0.
struct DigestChain {
    digest: Digest,
    last: Latest,
    committed_at: u64,
}

impl DigestChain {
    fn new(room: &RoomName) -> Self {
        Self { digest: Digest::start(room), last: Latest::EMPTY, committed_at: 0 }
    }

    /// The digest after each entry; or the slot that breaks a rule that digests do not cover.
    fn take(&mut self, entries: &[Entry]) -> Result<Vec<(Slot, Digest)>, Wrong> {
        let mut digests = Vec::with_capacity(entries.len());
        for entry in entries {
            if entry.committed_at < self.committed_at {
                let why = "committed_at is earlier than that of the slot before";
                return Err(Wrong::at(entry.slot, why));
            }
            if entry.reference.is_some_and(|reference| reference >= entry.slot) {
                return Err(Wrong::at(entry.slot, "ref is not an earlier slot"));
            }
            self.digest = self.digest.then(entry);
            (self.last, self.committed_at) = (Latest::at(entry.slot), entry.committed_at);
            digests.push((entry.slot, self.digest));
        }
        Ok(digests)
    }
}
