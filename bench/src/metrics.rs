//! The server's own measurements, from `GET /metrics` at its operators' door.
//!
//! Enters: the Prometheus text format. Leaves: values, and histograms of what was observed between
//! two readings. Invariant: a metric that is missing is an error, not 0.
//!
//! No crate parses this: `prometheus-parse`, the one that is in use, brings `chrono` and `regex`
//! for what is one `split` per line here, and has no differences and no quantiles.

use std::{collections::HashMap, io, net::SocketAddr};

use crate::http::Http;

/// One reading: values by name with labels.
pub(crate) struct Metrics(HashMap<String, f64>);

/// What was observed between two readings.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    /// Upper bounds, ascending, and the number of observations up to each.
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

impl Metrics {
    /// Reads a server's metrics over a new connection: an idle one is closed after ten seconds.
    pub(crate) fn of(addr: SocketAddr) -> io::Result<Self> {
        Self::read(&mut Http::connect(addr)?)
    }

    /// Reads a server's metrics.
    pub(crate) fn read(http: &mut Http) -> io::Result<Self> {
        Ok(Self::parse(&String::from_utf8_lossy(http.get("/metrics")?)))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(lines.filter_map(pair).collect())
    }

    /// A value, by its name with labels.
    pub(crate) fn value(&self, name: &str) -> io::Result<f64> {
        let missing = || io::Error::other(format!("/metrics has no {name}"));
        self.0.get(name).copied().ok_or_else(missing)
    }

    /// How many entries the archive is behind the journal.
    pub(crate) fn fold_lag(&self) -> io::Result<f64> {
        self.value("roomlog_fold_lag_entries")
    }

    /// How much a value has grown since `before`.
    pub(crate) fn grown(&self, before: &Self, name: &str) -> io::Result<f64> {
        Ok(self.value(name)? - before.value(name)?)
    }

    /// What a histogram without labels has observed since `before`.
    pub(crate) fn observed(&self, before: &Self, name: &str) -> io::Result<Buckets> {
        let prefix = format!("{name}_bucket{{le=\"");
        let mut buckets = Vec::new();
        for full in self.0.keys().filter(|full| full.starts_with(&prefix)) {
            let bound = full[prefix.len()..].trim_end_matches("\"}");
            let bound = bound.parse().map_err(|_| io::Error::other(format!("odd {full}")))?;
            buckets.push((bound, self.grown(before, full)?));
        }
        buckets.sort_by(|a: &(f64, f64), b| a.0.total_cmp(&b.0));
        let sum = self.grown(before, &format!("{name}_sum"))?;
        Ok(Buckets { buckets, sum, count: self.grown(before, &format!("{name}_count"))? })
    }
}

impl Buckets {
    /// Adds the observations of a histogram with the same bounds.
    pub(crate) fn add(&mut self, other: Self) {
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

    /// The mean; 0 if there are no observations.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// The quantile `q`, interpolated as if the observations of a bucket were spread evenly. 0 if
    /// there are none; the highest finite bound if it is above that.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
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

    /// The fraction of observations up to `bound`: exact if that is the bound of a bucket, else up
    /// to the next lower one. 0 if there are no observations.
    pub(crate) fn within(&self, bound: f64) -> f64 {
        // Bounds are decimal fractions, rounded to a float.
        let below = self.buckets.iter().take_while(|(at, _)| *at <= bound * (1.0 + 1e-9));
        below.last().map_or(0.0, |(_, count)| count / self.count.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(low: u32, high: u32, all: u32, sum: f64) -> Metrics {
        Metrics::parse(&format!(
            "# TYPE t histogram\nt_bucket{{le=\"1\"}} {low}\nt_bucket{{le=\"3\"}} {high}\n\
             t_bucket{{le=\"+Inf\"}} {all}\nt_sum {sum}\nt_count {all}\n"
        ))
    }

    #[test]
    fn a_histogram_holds_what_was_observed_between_two_readings() {
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
    fn a_missing_metric_is_an_error() {
        reading(0, 0, 0, 0.0).value("roomlog_blocks_total").expect_err("not there");
    }
}
