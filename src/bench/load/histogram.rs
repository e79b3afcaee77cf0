//! Latencies, counted in buckets that grow with the value, so that a million of them cost as much as one and every
//! percentile is right to less than 1 %.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Each power of two is cut into so many buckets, which bounds the error.
const CUTS: u32 = 7;
const BUCKETS: usize = (64 - CUTS as usize + 1) << CUTS;

/// A distribution of durations.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

/// What is told of a distribution, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    #[serde(rename = "latency_p50_us")]
    pub p50: u64,
    #[serde(rename = "latency_p99_us")]
    pub p99: u64,
    #[serde(rename = "latency_p999_us")]
    pub p999: u64,
    #[serde(rename = "latency_max_us")]
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts all that `other` has.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The duration in nanoseconds that `share` of all don't exceed.
    fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top(index).min(self.max);
            }
        }
        self.max
    }

    /// The figures to tell.
    pub fn latency(&self) -> Latency {
        let micros = |nanos: u64| nanos.div_ceil(1000);
        Latency { p50: micros(self.percentile(0.5)), p99: micros(self.percentile(0.99)), p999: micros(self.percentile(0.999)), max: micros(self.max) }
    }
}

/// Where a value is counted: the first `2^CUTS` have buckets of their own, then each power of two shares that many.
fn bucket(value: u64) -> usize {
    let shift = (value | 1).ilog2().saturating_sub(CUTS);
    ((shift as usize) << CUTS) + (value >> shift) as usize
}

/// The largest value of a bucket.
fn top(index: usize) -> u64 {
    let shift = (index >> CUTS).saturating_sub(1);
    let first = (index - (shift << CUTS)) as u64;
    (((u128::from(first) + 1) << shift) - 1) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_the_bucket_is_narrow(value in any::<u64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let index = bucket(value);
            prop_assert!(index < BUCKETS);
            let (least, most) = (if index == 0 { 0 } else { top(index - 1) + 1 }, top(index));
            prop_assert!((least..=most).contains(&value), "{least}..={most}");
            prop_assert!((most - least) as f64 <= value as f64 / f64::from(1 << CUTS));
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_values(mut values in prop::collection::vec(0_u64..10_000_000_000, 1..400), share in 0.0_f64..=1.0) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|nanos| histogram.record(Duration::from_nanos(*nanos)));
            values.sort_unstable();
            let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
            let (told, right) = (histogram.percentile(share), values[rank - 1]);
            prop_assert!(told >= right && told as f64 <= right as f64 * 1.01, "{told} for {right}");
        }
    }

    #[test]
    fn nothing_has_no_latency() {
        let nothing = Latency { p50: 0, p99: 0, p999: 0, max: 0 };
        assert_eq!(Histogram::default().latency(), nothing);
    }
}
