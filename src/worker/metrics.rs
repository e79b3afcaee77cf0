//! What the worker counts.

use crate::metrics::{Counter, Metric};

/// Claims that the poller made.
pub static CLAIMS: Metric<Counter> = Metric::new("persona_queue_claims_total", "Claims that were made.");
/// Claims that brought nothing.
pub static EMPTY_CLAIMS: Metric<Counter> = Metric::new("persona_queue_empty_claims_total", "Claims that brought no job.");
