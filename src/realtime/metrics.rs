//! What the hub counts.

use crate::metrics::{Counter, Metric};

/// Questions to the log.
pub static LOG_READS: Metric<Counter> =
    Metric::new("persona_hub_log_reads_total", "How often a room asked the log for its newest place or for events.");
