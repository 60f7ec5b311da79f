//! One server under hostile clients: what they do to an honest author, and to the server's memory.
//!
//! ```text
//!  server ◄── an author, one append at a time, on a thread of its own ──► times, refusals
//!     ▲
//!     └── attackers, all of one kind, then all of the next
//! ```
//!
//! Enters: kinds of attacks, how many attackers, for how long. Leaves: a [`Harm`] for each kind, after one
//! without attackers; on request also one with the attackers at another server of the same machine, which
//! is the floor: what they cost the author by being there. Invariant: attackers go on until their time is
//! over, whatever the server answers.

mod attack;
mod author;

use std::{fmt, fs, io, path::PathBuf, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use crate::node::Node;

pub use attack::Attack;

/// The attackers' head start: the author is measured when they have reached their bounds.
const RAMP: Duration = Duration::from_millis(500);

/// The server's budget for what clients make it hold, in bytes.
pub const MEMORY: u64 = 256 << 20;

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Hostility {
    /// The `roomlog` executable.
    pub binary: PathBuf,
    /// The attacks, one after the other.
    pub attacks: Vec<Attack>,
    /// How many attackers at a time.
    pub attackers: usize,
    /// How long the author is measured beside each.
    pub time: Duration,
    /// Whether each attack is also made on another server of the same machine.
    pub elsewhere: bool,
}

/// What an attack did.
#[derive(Debug)]
pub struct Harm {
    /// `None` without attackers.
    pub attack: Option<Attack>,
    /// The attackers attacked another server.
    pub elsewhere: bool,
    /// The author's ack times, sorted.
    pub acks: Vec<Duration>,
    /// The author's appends that were refused, by code.
    pub refused: Vec<String>,
    /// The server's peak of resident memory meanwhile, in bytes.
    pub peak: u64,
}

impl Harm {
    /// The ack time that this part of the acks took at most; zero if there are none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.acks.len().saturating_sub(1);
        self.acks.get((part * last as f64) as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Harm {
    /// A row of a table in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.attack.map_or_else(|| "none".into(), |attack| attack.to_string());
        let name = if self.elsewhere { format!("{name}, elsewhere") } else { name };
        let ms = |part| self.quantile(part).as_secs_f64() * 1e3;
        let (p50, p99, max) = (ms(0.5), ms(0.99), ms(1.0));
        let (acks, refused, mib) = (self.acks.len(), self.refused.len(), self.peak >> 20);
        write!(f, "| {name} | {acks} | {p50:.2} | {p99:.2} | {max:.0} | {refused} | {mib} |")
    }
}

/// The head of the table.
pub const TABLE: &str = "\
| attack | author's acks | p50, ms | p99, ms | max, ms | refused | peak RSS, MiB |
|---|--:|--:|--:|--:|--:|--:|";

/// Starts a server and attacks it; `report` is called after each attack.
///
/// # Errors
/// If the server does not start, ends by itself, or does not answer the author within 30 s.
pub async fn run(plan: &Hostility, mut report: impl FnMut(&Harm)) -> io::Result<Vec<Harm>> {
    let directory = tempfile::tempdir()?;
    let start = async |name: &str| {
        let flags = vec![format!("--memory={MEMORY}"), "--admin-listen=127.0.0.1:0".into()];
        let data = directory.path().join(name);
        let mut server = Node::new(format!("the {name} server"), &plan.binary, data, flags)?;
        server.start().await?;
        author::fill(server.address).await?;
        Ok::<_, io::Error>(server)
    };
    let mut server = start("first").await?;
    let mut other = if plan.elsewhere { Some(start("other").await?) } else { None };
    let mut steps = vec![(None, false)];
    for attack in &plan.attacks {
        steps.extend(other.iter().map(|_| (Some(*attack), true)));
        steps.push((Some(*attack), false));
    }
    let mut harms = Vec::new();
    for (attack, elsewhere) in steps {
        let attacked = other.as_ref().filter(|_| elsewhere).unwrap_or(&server).address;
        reset_peak(&server)?;
        let author = author::Waiting::connect(server.address).await?;
        let mut attackers = JoinSet::new();
        for (attack, number) in
            attack.iter().flat_map(|it| (0..plan.attackers).map(move |n| (*it, n)))
        {
            attackers.spawn(attack.run(attacked, number));
        }
        sleep(RAMP).await;
        let (acks, refused) = author.measure(plan.time).await?;
        let peak = peak(&server)?;
        attackers.shutdown().await;
        if server.has_ended() {
            return Err(server.error("ended by itself"));
        }
        let harm = Harm { attack, elsewhere, acks, refused, peak };
        report(&harm);
        harms.push(harm);
    }
    server.stop().await?;
    if let Some(other) = &mut other {
        other.stop().await?;
    }
    Ok(harms)
}

fn proc_file(server: &Node, name: &str) -> io::Result<PathBuf> {
    let pid = server.pid().ok_or_else(|| server.error("does not run"))?;
    Ok(format!("/proc/{}/{name}", pid.as_raw_nonzero()).into())
}

fn reset_peak(server: &Node) -> io::Result<()> {
    // 5 resets the peak (proc(5)).
    fs::write(proc_file(server, "clear_refs")?, "5")
}

/// The peak of resident memory, in bytes.
fn peak(server: &Node) -> io::Result<u64> {
    let status = fs::read_to_string(proc_file(server, "status")?)?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    let kib: Option<u64> = kib.and_then(|kib| kib.trim().parse().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmHWM in /proc"))
}
