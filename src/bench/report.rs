//! How figures are told: a table for people, one line of JSON for programs.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{load::Latency, process::Cpu};

/// Prints the figures.
pub fn print(json: bool, figures: &impl Serialize, rows: &[(&str, String)]) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(());
    }
    let widest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        println!("{name:<widest$}  {value}");
    }
    Ok(())
}

/// What one of `count` things took of `whole`, in microseconds.
pub fn micros_each(whole: Duration, count: u64) -> f64 {
    rounded(whole.as_secs_f64() * 1e6 / count.max(1) as f64)
}

/// How many there were a second.
pub fn per_second(count: u64, seconds: f64) -> f64 {
    rounded(count as f64 / seconds.max(1e-9))
}

/// Two digits behind the point; more would be noise.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Percentiles, as people read them.
pub fn latency(latency: &Latency) -> String {
    let told = [latency.p50, latency.p99, latency.p999, latency.max].map(micros).join(" / ");
    format!("{told} (p50 / p99 / p99.9 / max)")
}

fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// Processor time a thing, as people read it.
pub fn cpu_each(cpu: Cpu, count: u64) -> String {
    let each = |whole| micros_each(whole, count);
    format!("{:.1} µs (user {:.1}, system {:.1})", each(cpu.all()), each(cpu.user), each(cpu.system))
}
