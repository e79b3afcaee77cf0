//! Metrics: what this process counts and measures, for Prometheus.
//!
//! A metric is a `static` of the module whose matter it is, and stands in the one list of the composition root
//! (`server::metrics`), which `GET /metrics` writes. To count is one atomic addition, so that even what happens a hundred
//! thousand times a second may be counted. A module of its own and not a crate: names and labels are known when the program
//! is built, and of the format only the three types below are needed. Refuses to read the store: what is asked of it is
//! written where it is asked (`api::ops`).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    ops::Deref,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// One kind of value that a metric may have.
pub trait Value: Default + Send + Sync {
    /// Its name in the format.
    const TYPE: &'static str;
    /// As it begins.
    const NEW: Self;

    /// Writes its samples: `name{labels} value`, `labels` being without braces.
    fn write(&self, name: &str, labels: &str, text: &mut String);
}

/// What `GET /metrics` can write.
pub trait Exposed: Send + Sync {
    /// Its name, as Prometheus knows it.
    fn name(&self) -> &'static str;

    /// What it tells, in a sentence.
    fn help(&self) -> &'static str;

    /// Writes it with its head.
    fn write(&self, text: &mut String);
}

/// Grows only.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// None counted yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Value for Counter {
    const TYPE: &'static str = "counter";
    const NEW: Self = Self::new();

    fn write(&self, name: &str, labels: &str, text: &mut String) {
        sample(text, name, labels, self.get());
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// At zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// It is so many now.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// So many more, or less.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

impl Value for Gauge {
    const TYPE: &'static str = "gauge";
    const NEW: Self = Self::new();

    fn write(&self, name: &str, labels: &str, text: &mut String) {
        sample(text, name, labels, self.0.load(Ordering::Relaxed));
    }
}

/// The upper bounds of a [`Histogram`], in microseconds: from a way through memory to a picture that was long in coming.
#[rustfmt::skip]
const BOUNDS: [u64; 20] = [
    50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 300_000_000,
];

/// How long something took, over all times that it did.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many lie in each bucket alone; the last has no upper bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Nothing measured yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1], sum_micros: AtomicU64::new(0) }
    }

    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Value for Histogram {
    const TYPE: &'static str = "histogram";
    const NEW: Self = Self::new();

    fn write(&self, name: &str, labels: &str, text: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS.get(index).map_or("+Inf".to_owned(), |bound| (*bound as f64 / 1e6).to_string());
            sample(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), count);
        }
        sample(text, &format!("{name}_sum"), labels, self.sum_micros.load(Ordering::Relaxed) as f64 / 1_000_000.0);
        sample(text, &format!("{name}_count"), labels, count);
    }
}

/// A metric without labels. It can be used as the value that it holds.
#[derive(Debug)]
pub struct Metric<V> {
    name: &'static str,
    help: &'static str,
    value: V,
}

impl<V: Value> Metric<V> {
    /// A metric of this name; `help` is a sentence.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: V::NEW }
    }
}

impl<V> Deref for Metric<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V: Value> Exposed for Metric<V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn write(&self, text: &mut String) {
        head(text, self.name, self.help, V::TYPE);
        self.value.write(self.name, "", text);
    }
}

/// Metrics of one name that differ by their labels: one value for each that came up.
#[derive(Debug)]
pub struct Family<V> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    /// By the values of the labels, as they are written.
    members: RwLock<BTreeMap<String, Arc<V>>>,
}

impl<V: Value> Family<V> {
    /// A family of this name; `help` is a sentence. What a label may be must be few: every value costs memory for ever.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, labels, members: RwLock::new(BTreeMap::new()) }
    }

    /// The one with these values of the labels, in their order. Whoever counts often should keep it.
    #[must_use]
    pub fn with(&self, values: &[&str]) -> Arc<V> {
        let written = self.written(values);
        if let Some(member) = self.members.read().unwrap_or_else(PoisonError::into_inner).get(&written) {
            return member.clone();
        }
        self.members.write().unwrap_or_else(PoisonError::into_inner).entry(written).or_default().clone()
    }

    fn written(&self, values: &[&str]) -> String {
        debug_assert_eq!(self.labels.len(), values.len(), "{} has other labels", self.name);
        let mut written = String::new();
        for (label, value) in self.labels.iter().zip(values) {
            let comma = if written.is_empty() { "" } else { "," };
            let _ = write!(written, "{comma}{label}=\"{}\"", escaped(value));
        }
        written
    }
}

impl<V: Value> Exposed for Family<V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn write(&self, text: &mut String) {
        head(text, self.name, self.help, V::TYPE);
        for (labels, member) in &*self.members.read().unwrap_or_else(PoisonError::into_inner) {
            member.write(self.name, labels, text);
        }
    }
}

/// Writes the head of a metric that is read off just now, and not kept: its samples follow by [`sample`].
pub fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Writes one sample; `labels` is without braces, and may be empty.
pub fn sample(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = if labels.is_empty() { writeln!(text, "{name} {value}") } else { writeln!(text, "{name}{{{labels}}} {value}") };
}

/// The value of a label as the format has it.
#[must_use]
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(metric: &impl Exposed) -> String {
        let mut text = String::new();
        metric.write(&mut text);
        text
    }

    #[test]
    fn a_counter_is_written_with_its_head() {
        static ASKED: Metric<Counter> = Metric::new("asked_total", "How often it was asked.");
        ASKED.inc();
        ASKED.add(2);
        assert_eq!(written(&ASKED), "# HELP asked_total How often it was asked.\n# TYPE asked_total counter\nasked_total 3\n");
    }

    #[test]
    fn members_of_a_family_differ_by_their_labels_whatever_stands_in_them() {
        static OPEN: Family<Gauge> = Family::new("open", "What is open.", &["what", "who"]);
        OPEN.with(&["a", "b"]).add(2);
        OPEN.with(&["a", "b"]).add(-1);
        OPEN.with(&["a\"b", "c\\d\ne"]).set(-7);
        let text = written(&OPEN);
        assert!(text.ends_with("open{what=\"a\",who=\"b\"} 1\nopen{what=\"a\\\"b\",who=\"c\\\\d\\ne\"} -7\n"), "{text}");
    }

    #[test]
    fn the_buckets_of_a_histogram_hold_all_that_took_no_longer() {
        static TOOK: Metric<Histogram> = Metric::new("took_seconds", "How long it took.");
        for millis in [1, 2, 3, 1_000_000] {
            TOOK.observe(Duration::from_millis(millis));
        }
        let text = written(&TOOK);
        for line in [
            "took_seconds_bucket{le=\"0.001\"} 1",
            "took_seconds_bucket{le=\"0.002\"} 2",
            "took_seconds_bucket{le=\"0.005\"} 3",
            "took_seconds_bucket{le=\"300\"} 3",
            "took_seconds_bucket{le=\"+Inf\"} 4",
            "took_seconds_sum 1000.006",
            "took_seconds_count 4",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in\n{text}");
        }
    }
}
