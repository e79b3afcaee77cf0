//! The shortest trace that still shows a violation.

use super::{Rules, Violation, violations};
use crate::check::trace::Record;

/// As few records of `trace` as show `violation`: none of them can be left out.
///
/// Halves of it are left out, then quarters, and so on down to single records (delta debugging; Zeller and Hildebrandt,
/// "Simplifying and Isolating Failure-Inducing Input", 2002), as long as what is left shows the same violation.
#[must_use]
pub fn shortest(trace: &[Record], rules: Rules, violation: &Violation) -> Vec<Record> {
    let shows = |records: &[Record]| violations(records, rules).contains(violation);
    let mut left = trace.to_vec();
    let mut size = left.len().div_ceil(2).max(1);
    loop {
        let before = left.len();
        // From the end: what came long after is left out first.
        let mut end = left.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let without = [&left[..start], &left[end..]].concat();
            if shows(&without) {
                left = without;
            }
            end = start;
        }
        if size == 1 && left.len() == before {
            return left;
        }
        size = size.div_ceil(2).min(left.len().max(1));
    }
}
