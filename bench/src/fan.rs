//! The measurement that the spike and the fan-out benchmark share.
//!
//! Enters: lanes, each a server with its receivers and a way to make it commit. Leaves: server CPU
//! per delivered entry, one at a time and in bursts, by round. Invariant: within a round every lane
//! is measured once, so that a ratio compares neighbours in time.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::{
    process::{Server, cpu_seconds, memory},
    receivers::Receivers,
    spike::{GREETING, Kind},
    table::{Table, median, say},
    ws::Socket,
};

/// Entries of a burst.
pub(crate) const BURST: u16 = 32;

/// How much is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Amount {
    /// Receivers of each server.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub(crate) receivers: u32,
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Entries sent one at a time in a round.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    singles: u32,
    /// Bursts of 32 sent in a round.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bursts: u32,
}

/// Makes a server commit entries.
pub(crate) trait Publish {
    /// Has this many entries committed, at once if the server can.
    ///
    /// # Errors
    /// What the connection gives.
    fn commit(&mut self, entries: u16) -> io::Result<()>;

    /// Called when all receivers have them.
    ///
    /// # Errors
    /// What the connection gives.
    fn settle(&mut self, entries: u16) -> io::Result<()>;
}

/// One server under measurement.
pub(crate) struct Lane {
    name: &'static str,
    server: Server,
    receivers: Receivers,
    publisher: Box<dyn Publish>,
    /// Server memory per connection, bytes: when all had joined.
    idle: f64,
    /// Server memory before the first connection, bytes.
    empty: u64,
    singles: Vec<f64>,
    bursts: Vec<f64>,
    delivered: u64,
}

impl Lane {
    /// A lane of `count` receivers, each made by `connect`, on `server`.
    ///
    /// # Errors
    /// When a receiver cannot connect.
    pub(crate) fn new(
        name: &'static str,
        server: Server,
        count: u32,
        connect: impl Fn(&Server, u32) -> io::Result<TcpStream>,
        publish: impl FnOnce(&Server) -> io::Result<Box<dyn Publish>>,
    ) -> io::Result<Self> {
        let publisher = publish(&server)?;
        let empty = memory(server.pid())?.pss;
        let streams: io::Result<Vec<_>> = (0..count).map(|n| connect(&server, n)).collect();
        let receivers = Receivers::new(streams?)?;
        let idle = (memory(server.pid())?.pss as f64 - empty as f64) / f64::from(count);
        let (singles, bursts) = (Vec::new(), Vec::new());
        Ok(Self { name, server, receivers, publisher, idle, empty, singles, bursts, delivered: 0 })
    }

    /// A lane on one of this crate's own servers.
    ///
    /// # Errors
    /// As [`Lane::new`].
    pub(crate) fn peer(kind: Kind, count: u32) -> io::Result<Self> {
        let connect = |server: &Server, _: u32| match kind {
            Kind::Floor => greeted(TcpStream::connect(server.addr)?),
            _ => Socket::connect(server.addr)?.into_stream(),
        };
        Self::new(kind.name(), Server::peer(kind.name())?, count, connect, control)
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

    /// Lets the receivers go and stops the server; what it said at the end.
    ///
    /// # Errors
    /// When it does not stop by itself.
    pub(crate) fn stop(self) -> io::Result<Vec<String>> {
        drop((self.receivers, self.publisher));
        self.server.stop()
    }

    fn round(&mut self, amount: &Amount) -> io::Result<()> {
        let single = self.measure(1, amount.singles)?;
        let burst = self.measure(BURST, amount.bursts)?;
        eprintln!("  {:<8} {single:>6.2} µs one at a time, {burst:>6.3} µs in bursts", self.name);
        self.singles.push(single);
        self.bursts.push(burst);
        Ok(())
    }

    fn row(&self, floor: &Self) -> io::Result<Vec<String>> {
        let after = memory(self.server.pid())?.pss as f64 - self.empty as f64;
        Ok(vec![
            self.name.into(),
            format!("{:.2}", median(&self.singles)),
            format!("{:.2}", ratio(&self.singles, &floor.singles)),
            format!("{:.3}", median(&self.bursts)),
            format!("{:.2}", ratio(&self.bursts, &floor.bursts)),
            format!("{:.0}", self.receivers.bytes as f64 / self.delivered as f64),
            format!("{:.1}", self.idle / 1024.0),
            format!("{:.1}", after / 1024.0 / self.receivers.len() as f64),
        ])
    }
}

/// The median of the ratios of rounds.
fn ratio(ours: &[f64], floor: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
    median(&ratios)
}

/// Measures the lanes, the first of which is the floor, and prints the table.
///
/// # Errors
/// When a server or a receiver fails.
pub(crate) fn compare(lanes: &mut [Lane], amount: &Amount) -> io::Result<()> {
    for lane in &mut *lanes {
        lane.measure(1, 20)?;
        lane.measure(BURST, 20)?;
        (lane.receivers.bytes, lane.delivered) = (0, 0);
    }
    for round in 1..=amount.rounds {
        eprintln!("round {round} of {}", amount.rounds);
        for lane in &mut *lanes {
            lane.round(amount)?;
        }
    }
    say(&format!(
        "Server CPU per delivered entry, {} receivers, bodies of 200 bytes, medians of {} rounds:\n",
        amount.receivers, amount.rounds
    ));
    let mut table = Table::new(&[
        "server",
        "one at a time, µs",
        "of floor",
        "bursts of 32, µs",
        "of floor",
        "bytes an entry",
        "idle KiB",
        "used KiB",
    ]);
    for lane in &*lanes {
        table.row(lane.row(&lanes[0])?);
    }
    table.print();
    say("\nidle, used: the server's memory per connection before and after the traffic (PSS).");
    Ok(())
}

/// Waits until the floor has subscribed this receiver.
fn greeted(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut greeting = [0];
    stream.read_exact(&mut greeting)?;
    if greeting[0] != GREETING {
        return Err(io::Error::other("the floor did not greet"));
    }
    Ok(stream)
}

/// The control connection of this crate's own servers.
struct Control(TcpStream);

fn control(server: &Server) -> io::Result<Box<dyn Publish>> {
    let addr = server.control.ok_or_else(|| io::Error::other("the server has no control port"))?;
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    Ok(Box::new(Control(stream)))
}

impl Publish for Control {
    fn commit(&mut self, entries: u16) -> io::Result<()> {
        self.0.write_all(&entries.to_be_bytes())
    }

    fn settle(&mut self, _: u16) -> io::Result<()> {
        Ok(())
    }
}
