//! Times and what is reported of them: quantiles, medians of rounds, ratios to the floor.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Durations in an HDR histogram, which keeps three significant digits of each.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(3).expect("0 to 5 significant digits are allowed"))
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // The histogram grows on demand, up to any u64.
        let _ = self.0.record(nanos);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // As in `record`.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The quantile `q` in µs; 0 if nothing was recorded.
    pub(crate) fn us(&self, q: f64) -> f64 {
        self.0.value_at_quantile(q) as f64 / 1e3
    }

    /// The quantile `q` in ms; 0 if nothing was recorded.
    pub(crate) fn ms(&self, q: f64) -> f64 {
        self.us(q) / 1e3
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut all = Self::default();
        times.into_iter().for_each(|time| all.record(time));
        all
    }
}

/// The times of one contender, round by round.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Times of all rounds.
    pub(crate) all: Times,
    /// The p50 of each round, µs.
    p50_us: Vec<f64>,
}

impl Rounds {
    pub(crate) fn push(&mut self, round: &Times) {
        self.p50_us.push(round.us(0.5));
        self.all.add(round);
    }

    /// The median of the rounds' p50s.
    pub(crate) fn p50_us(&self) -> f64 {
        median(self.p50_us.iter().copied())
    }

    /// The p99 of all rounds together.
    pub(crate) fn p99_us(&self) -> f64 {
        self.all.us(0.99)
    }

    /// The median of the ratios of the rounds' p50s to those of `floor`.
    pub(crate) fn p50_ratio(&self, floor: &Self) -> f64 {
        median_ratio(&self.p50_us, &floor.p50_us)
    }

    pub(crate) fn len(&self) -> u64 {
        self.all.len()
    }
}

/// The lower median; 0 if there are no values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// The median of the ratios of values of the same round.
pub(crate) fn median_ratio(values: &[f64], floors: &[f64]) -> f64 {
    median(values.iter().zip(floors).map(|(value, floor)| value / floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_one_of_the_values() {
        assert_eq!([median([4.0, 1.0, 3.0, 2.0]), median([])], [2.0, 0.0]);
        assert_eq!(median_ratio(&[2.0, 9.0, 4.0], &[1.0, 3.0, 4.0]), 2.0);
    }

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let times: Times = (1..=1_000).map(Duration::from_micros).collect();
        assert!((times.us(0.5) - 500.0).abs() < 0.5, "{}", times.us(0.5));
        assert!((times.ms(0.99) - 0.99).abs() < 0.001, "{}", times.ms(0.99));
        assert_eq!((times.len(), Times::default().us(0.5)), (1_000, 0.0));
    }
}
