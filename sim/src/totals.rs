//! Many seeds, each in a process of its own, and what they add up to.
//!
//! Enters: seeds. Leaves: a line for each that broke something, with the command that repeats it, and sums.

use std::{
    collections::BTreeMap,
    env, io,
    ops::Range,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use serde_json::Value;

#[derive(Default)]
struct Totals {
    next: u64,
    ms: u64,
    operations: u64,
    entries: u64,
    faults: BTreeMap<String, u64>,
    broken: u64,
}

/// Runs seeds on all cores; whether nothing was broken.
pub(crate) fn run(seeds: Range<u64>, seconds: u64) -> io::Result<bool> {
    let totals = Mutex::new(Totals { next: seeds.start, ..Totals::default() });
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| work(&totals, seeds.end, seconds))).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| io::Error::other("a worker panicked"))?
        })
    })?;
    let Ok(totals) = totals.into_inner() else { return Ok(false) };
    let Totals { ms, operations, entries, faults, broken, .. } = totals;
    let count = seeds.end - seeds.start;
    println!(
        "{count} seeds, {:.1} simulated hours, {operations} operations checked, {entries} entries, \
         {broken} seeds broke a promise",
        ms as f64 / 3_600_000.0
    );
    let faults: Vec<_> = faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!("faults: {}", faults.join(", "));
    Ok(broken == 0)
}

fn work(totals: &Mutex<Totals>, end: u64, seconds: u64) -> io::Result<()> {
    loop {
        let seed = {
            let Ok(mut totals) = totals.lock() else { return Ok(()) };
            if totals.next >= end {
                return Ok(());
            }
            totals.next += 1;
            totals.next - 1
        };
        let again = ["--seed", &seed.to_string(), "--seconds", &seconds.to_string()].join(" ");
        let ended = Command::new(env::current_exe()?)
            .args(again.split(' '))
            .stderr(Stdio::inherit())
            .output()?;
        let line = String::from_utf8_lossy(&ended.stdout).into_owned();
        let Ok(mut totals) = totals.lock() else { return Ok(()) };
        totals.add(&line);
        if !ended.status.success() {
            totals.broken += 1;
            println!("{}\n  again: script/sim {again} --history history.txt", line.trim());
        }
    }
}

impl Totals {
    fn add(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        let number = |name: &str| line[name].as_u64().unwrap_or(0);
        self.ms += number("ms");
        self.operations += number("appends") + number("acked") + number("seen");
        self.entries += number("entries");
        for (name, count) in line["faults"].as_object().into_iter().flatten() {
            *self.faults.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
}
