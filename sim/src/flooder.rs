//! A client that appends as fast as its socket takes it, and reads late.
//!
//! Enters: a seed. Leaves: frames in the record. Invariant: it appends a bounded number of entries; nobody waits for
//! it, and the others are answered all the same.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    network::Network,
    tokens::token,
    writer::{FLOODED, Record, Session},
};

/// How many appends it sends.
const APPENDS: u64 = 1_500;
/// How many bytes each has: all are several times what a node holds.
const BYTES: usize = 2_000;

pub(crate) struct Flooder {
    pub(crate) network: Network,
    pub(crate) nodes: usize,
    pub(crate) record: Record,
    pub(crate) seed: u64,
    pub(crate) has_tokens: bool,
}

impl Flooder {
    pub(crate) async fn run(self) {
        let mut random = SmallRng::seed_from_u64(self.seed);
        sleep(Duration::from_millis(random.random_range(500..5_000))).await;
        let mut next = 0;
        while next < APPENDS {
            let _floods_again = self.session(&mut random, &mut next).await;
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// One connection; `None` when it ends.
    async fn session(&self, random: &mut SmallRng, next: &mut u64) -> Option<()> {
        let node = random.random_range(0..self.nodes);
        let mut session = Session::open(&self.network, &self.record, node).await?;
        let login = match self.has_tokens {
            true => json!({ "type": "login", "token": token("flooder", "flood*", 600) }),
            false => json!({ "type": "login", "author": "flooder" }),
        };
        session.send(&login).await?;
        while *next < APPENDS {
            let burst = random.random_range(1..600);
            for _ in 0..burst {
                let body = format!("{}{}", *next, "~".repeat(BYTES));
                let id = format!("flood-{next}");
                *next += 1;
                let append = json!({ "type": "append", "room": FLOODED, "id": id, "body": body });
                session.send(&append).await?;
            }
            // What was answered meanwhile, until nothing comes for a moment.
            while let Ok(frame) = timeout(Duration::from_millis(50), session.next()).await {
                frame?;
            }
        }
        Some(())
    }
}
