//! The registry of the metrics, and what makes each kind of them.
//!
//! Enters: names and help. Leaves: metrics that are registered, once each.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
    exponential_buckets,
};

/// Makes and registers metrics; their names are valid and unique, or the server does not start.
#[derive(Debug, Default)]
pub(crate) struct MetricRegistry(pub(crate) Registry);

impl MetricRegistry {
    pub(crate) fn register<T: Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<T>,
    ) -> T {
        let metric = made.unwrap_or_else(|error| unreachable!("an invalid metric: {error}"));
        if let Err(error) = self.0.register(Box::new(metric.clone())) {
            unreachable!("a metric registered twice: {error}");
        }
        metric
    }

    pub(crate) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    pub(crate) fn labelled(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(crate) fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }
}

pub(crate) fn buckets(first: f64, factor: f64, count: usize) -> Vec<f64> {
    exponential_buckets(first, factor, count)
        .unwrap_or_else(|error| unreachable!("invalid buckets: {error}"))
}

/// Raises a counter to a total that is counted elsewhere.
pub(crate) fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
