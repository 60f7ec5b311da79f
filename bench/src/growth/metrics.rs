//! What the server measures of itself: `GET /metrics`, read.
//!
//! Enters: the Prometheus text format. Leaves: values, and histograms of what happened between two
//! readings. Invariant: what is not there is an error, not 0.

use std::{collections::HashMap, io, net::SocketAddr};

use crate::page::Http;

/// One reading.
pub(super) struct Metrics {
    /// By name with labels, as it is told.
    values: HashMap<String, f64>,
}

/// What was observed between two readings.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// The upper bound of a bucket, and how many observations lie at or below it; in order.
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

impl Metrics {
    /// Asks a server, over a connection of its own: one that was idle for ten seconds is closed.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn of(addr: SocketAddr) -> io::Result<Self> {
        Self::ask(&mut Http::connect(addr)?)
    }

    /// Asks over a connection.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) fn ask(http: &mut Http) -> io::Result<Self> {
        Ok(Self::read(&String::from_utf8_lossy(http.get("/metrics")?)))
    }

    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self { values: lines.filter_map(pair).collect() }
    }

    /// A value, by its name with labels.
    ///
    /// # Errors
    /// When the server does not tell it.
    pub(super) fn value(&self, name: &str) -> io::Result<f64> {
        let none = || io::Error::other(format!("/metrics has no {name}"));
        self.values.get(name).copied().ok_or_else(none)
    }

    /// How much a value grew since `before`.
    ///
    /// # Errors
    /// As [`Metrics::value`].
    pub(super) fn grown(&self, before: &Self, name: &str) -> io::Result<f64> {
        Ok(self.value(name)? - before.value(name)?)
    }

    /// What a histogram without labels observed since `before`.
    ///
    /// # Errors
    /// As [`Metrics::value`].
    pub(super) fn observed(&self, before: &Self, name: &str) -> io::Result<Histogram> {
        let prefix = format!("{name}_bucket{{le=\"");
        let mut buckets = Vec::new();
        for full in self.values.keys().filter(|full| full.starts_with(&prefix)) {
            let bound = full[prefix.len()..].trim_end_matches("\"}");
            let bound = bound.parse().map_err(|_| io::Error::other(format!("odd {full}")))?;
            buckets.push((bound, self.grown(before, full)?));
        }
        buckets.sort_by(|a: &(f64, f64), b| a.0.total_cmp(&b.0));
        let sum = self.grown(before, &format!("{name}_sum"))?;
        Ok(Histogram { buckets, sum, count: self.grown(before, &format!("{name}_count"))? })
    }
}

impl Histogram {
    /// Takes in what another one of the same buckets observed.
    pub(super) fn add(&mut self, other: Self) {
        if self.buckets.is_empty() {
            *self = other;
            return;
        }
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
        self.sum += other.sum;
        self.count += other.count;
    }

    /// The mean; 0 of nothing.
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// The quantile `q`, as if the observations in its bucket were spread evenly; 0 of nothing, and
    /// the greatest bound of what lies above all.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let wanted = self.count * q;
        let (mut low, mut below) = (0.0, 0.0);
        for &(bound, upto) in &self.buckets {
            if upto >= wanted && upto > below {
                let part = (wanted - below) / (upto - below);
                return if bound.is_finite() { low + (bound - low) * part } else { low };
            }
            (low, below) = (bound, upto);
        }
        0.0
    }

    /// Which part was at most `bound`: exact where that is a bound of a bucket, and what the next
    /// smaller bucket says where it is not. 0 of nothing.
    pub(super) fn within(&self, bound: f64) -> f64 {
        // Bounds are decimal fractions, as near as a float comes.
        let below = self.buckets.iter().take_while(|(at, _)| *at <= bound * (1.0 + 1e-9));
        below.last().map_or(0.0, |(_, count)| count / self.count.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(low: u32, high: u32, all: u32, sum: f64) -> Metrics {
        Metrics::read(&format!(
            "# TYPE t histogram\nt_bucket{{le=\"1\"}} {low}\nt_bucket{{le=\"3\"}} {high}\n\
             t_bucket{{le=\"+Inf\"}} {all}\nt_sum {sum}\nt_count {all}\n"
        ))
    }

    #[test]
    fn a_histogram_is_what_came_between_two_readings() {
        let (before, after) = (reading(5, 5, 5, 2.0), reading(6, 9, 9, 10.0));
        let mut between = after.observed(&before, "t").expect("a histogram");
        // One of four up to 1, three up to 3: the second is a third of the way from 1 to 3.
        assert!((between.quantile(0.5) - (1.0 + 2.0 / 3.0)).abs() < 1e-9, "{between:?}");
        assert_eq!((between.mean(), between.within(1.0), between.within(2.9)), (2.0, 0.25, 0.25));
        assert_eq!(after.observed(&after, "t").expect("nothing").quantile(0.5), 0.0);
        between.add(after.observed(&before, "t").expect("a histogram"));
        assert_eq!((between.count, between.mean(), between.within(3.0)), (8.0, 2.0, 1.0));
    }

    #[test]
    fn what_the_server_does_not_tell_is_an_error() {
        reading(0, 0, 0, 0.0).value("roomlog_blocks_total").expect_err("not there");
    }
}
