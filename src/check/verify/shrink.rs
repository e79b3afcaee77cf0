//! The shortest trace that still shows a violation.

use super::{Rules, Violation, violations};
use crate::check::trace::{Record, What};

/// As few records of `trace` as show `violation`: none of them can be left out.
///
/// Halves of it are left out, then quarters, and so on down to single records (delta debugging; Zeller and Hildebrandt,
/// "Simplifying and Isolating Failure-Inducing Input", 2002), as long as what is left shows the same violation. What records
/// list is made short in the same way.
#[must_use]
pub fn shortest(trace: &[Record], rules: Rules, violation: &Violation) -> Vec<Record> {
    let shows = |records: &[Record]| violations(records, rules).contains(violation);
    let mut left = reduced(trace.to_vec(), shows);
    for index in 0..left.len() {
        shorten_lists(&mut left, index, shows);
    }
    left
}

/// Makes the lists of one record short.
fn shorten_lists(records: &mut [Record], index: usize, shows: impl Fn(&[Record]) -> bool) {
    let with = |what: What| {
        let mut records = records.to_vec();
        records[index].what = what;
        records
    };
    let what = match records[index].what.clone() {
        What::Page { view, channel, messages, older, streaming } => {
            let page = |messages: &[_], older: &[_], streaming: &[_]| What::Page {
                view,
                channel: channel.clone(),
                messages: messages.to_vec(),
                older: older.to_vec(),
                streaming: streaming.to_vec(),
            };
            let messages = reduced(messages, |messages| shows(&with(page(messages, &older, &streaming))));
            let older = reduced(older, |older| shows(&with(page(&messages, older, &streaming))));
            let streaming = reduced(streaming, |streaming| shows(&with(page(&messages, &older, streaming))));
            page(&messages, &older, &streaming)
        }
        What::Kept { channel, messages } => {
            let kept = |messages: &[_]| What::Kept { channel: channel.clone(), messages: messages.to_vec() };
            kept(&reduced(messages, |messages| shows(&with(kept(messages)))))
        }
        other => other,
    };
    records[index].what = what;
}

/// As few of these as show it.
fn reduced<T: Clone>(mut left: Vec<T>, shows: impl Fn(&[T]) -> bool) -> Vec<T> {
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
