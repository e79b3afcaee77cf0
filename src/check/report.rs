//! Tells an operator what a run has found.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use super::{
    crowd::Ended,
    trace::{Record, What},
    verify::shortest,
};

/// How many kinds of breaches are shown with their trace.
const SHOWN: usize = 5;
/// The largest trace that is made short; beyond it that takes too long.
const SHORTENED: usize = 400_000;

/// What came of a run, in words.
pub struct Report<'a>(pub &'a Ended);

/// How often something is in a trace.
struct Count<'a>(&'a [Record]);

impl Count<'_> {
    fn of(&self, is_it: impl Fn(&What) -> bool) -> usize {
        self.0.iter().filter(|record| is_it(&record.what)).count()
    }
}

impl Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.of(|what| matches!(what, What::Opened { .. }));
        let told = self.of(|what| matches!(what, What::Told { .. }));
        let resets = self.of(|what| matches!(what, What::Reset { .. }));
        let messages = self.of(|what| matches!(what, What::Said { .. }));
        let jobs = self.of(|what| matches!(what, What::Asked { .. } | What::Said { job: Some(_), .. }));
        let faults = self.of(|what| matches!(what, What::Fault { .. }));
        write!(f, "{messages} messages and {jobs} jobs acknowledged, {told} events told on {streams} streams, {resets} resets, {faults} faults")
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { recorder, violations, rules, seed } = self.0;
        let trace = recorder.trace();
        writeln!(f, "seed {seed}: {}", Count(&trace))?;
        if violations.is_empty() {
            return writeln!(f, "nothing is wrong");
        }
        for record in &trace {
            if let What::Fault { did, .. } = &record.what {
                writeln!(f, "  at {} ms {did}", record.at)?;
            }
        }
        writeln!(f, "{} breaches of the delivery contract:", violations.len())?;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for violation in violations {
            let (kind, seen) = (violation.kind(), kinds.len());
            let count = kinds.entry(kind).or_default();
            *count += 1;
            if *count == 1 && seen < SHOWN {
                writeln!(f, "\n  {violation}\n  the shortest trace that shows it:")?;
                let short = if trace.len() <= SHORTENED { shortest(&trace, *rules, violation) } else { Vec::new() };
                for record in short {
                    writeln!(f, "    {record}")?;
                }
            }
        }
        writeln!(f)?;
        for (kind, count) in kinds {
            writeln!(f, "  {count} × {kind}")?;
        }
        Ok(())
    }
}
