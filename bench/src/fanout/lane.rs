//! One server under measurement, with its receivers and a publisher.

use std::{io, net::TcpStream};

use crate::{
    process::{Server, cpu_seconds, memory},
    receivers::Receivers,
    times::{median, median_ratio},
};

/// Entries in a burst.
pub(super) const BURST: u16 = 32;

/// Makes a server commit entries.
pub(super) trait Publisher {
    /// Has the server commit this many entries, together if it can.
    fn commit(&mut self, entries: u16) -> io::Result<()>;

    /// Called when all receivers have them.
    fn settle(&mut self, _entries: u16) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Lane {
    name: &'static str,
    server: Server,
    receivers: Receivers,
    publisher: Box<dyn Publisher>,
    /// Server memory before the first receiver, bytes.
    empty: u64,
    /// Server memory per receiver before the traffic, bytes.
    idle: f64,
    /// CPU µs per delivered entry of each round, one at a time and in bursts.
    singles: Vec<f64>,
    bursts: Vec<f64>,
    delivered: u64,
}

impl Lane {
    /// Connects `count` receivers.
    pub(super) fn new(
        name: &'static str,
        server: Server,
        count: u32,
        connect: impl Fn(&Server, u32) -> io::Result<TcpStream>,
        publisher: Box<dyn Publisher>,
    ) -> io::Result<Self> {
        let empty = memory(server.pid())?.pss;
        let streams: io::Result<Vec<_>> = (0..count).map(|n| connect(&server, n)).collect();
        let receivers = Receivers::new(streams?)?;
        let idle = (memory(server.pid())?.pss as f64 - empty as f64) / f64::from(count);
        let (singles, bursts) = (Vec::new(), Vec::new());
        Ok(Self { name, server, receivers, publisher, empty, idle, singles, bursts, delivered: 0 })
    }

    /// CPU µs of the server per delivered entry, over `times` commits of `entries`.
    fn measure(&mut self, entries: u16, times: u32) -> io::Result<f64> {
        let before = cpu_seconds(self.server.pid())?;
        for _ in 0..times {
            self.publisher.commit(entries)?;
            self.receivers.take(u64::from(entries))?;
            self.publisher.settle(entries)?;
        }
        let used = cpu_seconds(self.server.pid())? - before;
        let delivered = u64::from(times) * u64::from(entries) * self.receivers.len() as u64;
        self.delivered += delivered;
        Ok(used * 1e6 / delivered as f64)
    }

    /// Commits `times` singles and bursts that do not count.
    pub(super) fn warm_up(&mut self, times: u32) -> io::Result<()> {
        self.measure(1, times)?;
        self.measure(BURST, times)?;
        (self.receivers.bytes, self.delivered) = (0, 0);
        Ok(())
    }

    pub(super) fn round(&mut self, singles: u32, bursts: u32) -> io::Result<()> {
        let single = self.measure(1, singles)?;
        let burst = self.measure(BURST, bursts)?;
        eprintln!("  {:<8} {single:>6.2} µs one at a time, {burst:>6.3} µs in bursts", self.name);
        self.singles.push(single);
        self.bursts.push(burst);
        Ok(())
    }

    /// The medians of the rounds.
    pub(super) fn row(&self, floor: &Self) -> io::Result<Vec<String>> {
        let used = memory(self.server.pid())?.pss as f64 - self.empty as f64;
        Ok(vec![
            self.name.into(),
            format!("{:.2}", median(self.singles.iter().copied())),
            format!("{:.2}", median_ratio(&self.singles, &floor.singles)),
            format!("{:.3}", median(self.bursts.iter().copied())),
            format!("{:.2}", median_ratio(&self.bursts, &floor.bursts)),
            format!("{:.0}", self.receivers.bytes as f64 / self.delivered as f64),
            format!("{:.1}", self.idle / 1024.0),
            format!("{:.1}", used / 1024.0 / self.receivers.len() as f64),
        ])
    }

    /// Disconnects the receivers and stops the server; returns the last lines of its stderr.
    pub(super) fn stop(self) -> io::Result<Vec<String>> {
        drop((self.receivers, self.publisher));
        self.server.stop()
    }
}
