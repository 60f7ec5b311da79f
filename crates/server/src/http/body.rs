//! The body of a POST, read whole.
//!
//! Enters: the body as it comes. Leaves: its bytes, or why not: too many, of this one or of all that are
//! held at once, or none for too long. Invariant: what is held is bounded before it is held.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http_body_util::BodyExt;
use roomlog_protocol::{ErrorCode, Refusal};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::gateway::Gateway;

/// A body, and its part of what all bodies may hold together, if they share a bound.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
}

/// How long the rest of a body that is refused is read, and how much of it: a client that still sends when
/// its connection ends never sees the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// Reads what is left of a body and drops it.
pub(super) async fn discard(mut body: Body) {
    let rest = async {
        let mut bytes = 0;
        while bytes < LINGER_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, |data| data.len());
        }
    };
    let _too_slow = timeout(LINGER, rest).await;
}

/// Reads a body of at most `most` bytes; `pool` has a permit for each byte of those held at once.
pub(super) async fn read(
    gateway: &Gateway,
    body: &mut Body,
    most: usize,
    pool: Option<&Arc<Semaphore>>,
) -> Result<Whole, Refusal> {
    let cut_off = || Refusal::new(ErrorCode::BadMessage, "the body did not arrive whole");
    let mut whole = Whole { bytes: Vec::new(), share: None };
    loop {
        let frame = timeout(gateway.idle_for(), body.frame()).await.map_err(|_| cut_off())?;
        let Some(frame) = frame else { return Ok(whole) };
        let Ok(data) = frame.map_err(|_| cut_off())?.into_data() else { continue };
        if whole.bytes.len() + data.len() > most {
            let message = format!("the body has more than {most} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        if let Some(pool) = pool {
            whole.reserve(pool, data.len())?;
        }
        whole.bytes.extend_from_slice(&data);
    }
}

impl Whole {
    fn reserve(&mut self, pool: &Arc<Semaphore>, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = pool.clone().try_acquire_many_owned(bytes) else {
            let message =
                "the server holds as many batches as it can; send it again a little later";
            return Err(Refusal::new(ErrorCode::Busy, message));
        };
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        Ok(())
    }
}
