//! A single writer in a cluster, a follower on another node, and bare publishes one at a time.

use std::{
    io,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use roomlog_testkit::nats::Cluster;

use super::bare::BareClients;
use crate::{
    disk::ENTRY,
    frame::{BODY, body},
    process::Server,
    table::{Table, say},
    times::{Rounds, Times},
    ws::Socket,
};

/// Capacity of the channel of the follower's times.
const CAPACITY: usize = 1024;

/// The times of all rounds.
#[derive(Default)]
pub(super) struct LoneTimes {
    ack: Rounds,
    behind: Rounds,
    bare: Rounds,
}

impl LoneTimes {
    /// Measures an author on the first node and a follower on the second, then bare publishes.
    pub(super) fn round(
        &mut self,
        nats: &Cluster,
        nodes: &[Server],
        appends: u32,
    ) -> io::Result<()> {
        let mut author = Socket::login(nodes[0].addr, "ada")?;
        let mut follower = Socket::login(nodes[1].addr, "grace")?;
        follower.join("lone")?;
        let (send, received) = mpsc::sync_channel(CAPACITY);
        let follower = thread::spawn(move || -> io::Result<()> {
            for _ in 0..appends {
                follower.expect("ack")?;
                if send.send(Instant::now()).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let (mut ack, mut behind) = (Times::default(), Times::default());
        let text = body(BODY);
        for _ in 0..appends {
            ack.record(author.append("lone", &text)?);
            let answered = Instant::now();
            let seen = received.recv().map_err(|_| io::Error::other("the follower ended"))?;
            // The follower may receive it first.
            behind.record(seen.saturating_duration_since(answered));
        }
        follower.join().map_err(|_| io::Error::other("the follower panicked"))??;
        let bare = BareClients::connect(nats, 1)?.publish(ENTRY, 1, Duration::from_secs(2))?.ack;
        self.ack.push(&ack);
        self.behind.push(&behind);
        self.bare.push(&bare);
        Ok(())
    }

    /// Prints the table.
    pub(super) fn print(&self) {
        let mut table = Table::new(&["one at a time", "p50, ms", "p99, ms"]);
        for (name, rounds) in [
            ("ack of an author", &self.ack),
            ("ack of a bare publish", &self.bare),
            ("a follower on another node, after the author's answer", &self.behind),
        ] {
            table.row(vec![
                name.into(),
                format!("{:.2}", rounds.p50_us() / 1e3),
                format!("{:.2}", rounds.p99_us() / 1e3),
            ]);
        }
        say("");
        table.print();
        say(&format!(
            "\nAck p50 of bare: {:.2}. Bars: 1.5 of bare; a follower within 5 ms p50.",
            self.ack.p50_ratio(&self.bare)
        ));
    }
}
