//! Days, by which usage is counted and limited: those of UTC, everywhere.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

use crate::timestamp::Timestamp;

const MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A day in UTC, written `2026-11-25`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day of a moment.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        Self(moment.millis().div_euclid(MILLIS))
    }

    /// The day it is.
    #[must_use]
    pub fn today() -> Self {
        Self::of(Timestamp::now())
    }

    /// The day that many days after 1970-01-01.
    #[must_use]
    pub const fn from_number(days: i64) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The day that many days before.
    #[must_use]
    pub const fn before(self, days: i64) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// The moment at which the next one begins.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(1).saturating_mul(MILLIS))
    }

    /// How long it lasts from now on.
    #[must_use]
    pub fn left(self) -> Duration {
        Duration::from_millis(u64::try_from(self.end().millis() - Timestamp::now().millis()).unwrap_or(0))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = Timestamp::from_millis(self.0.saturating_mul(MILLIS)).to_string();
        f.write_str(begin.split('T').next().unwrap_or_default())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as 2026-11-25")]
pub struct InvalidDay;

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let day = format!("{text}T00:00:00Z").parse().map(Self::of).map_err(|_| InvalidDay)?;
        if day.to_string() == text { Ok(day) } else { Err(InvalidDay) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_ends_where_the_next_one_begins() {
        let day: Day = "2024-02-28".parse().unwrap();
        assert_eq!(day.end().to_string(), "2024-02-29T00:00:00.000Z");
        assert_eq!((Day::of(day.end()).to_string().as_str(), Day::of(day.end()).before(1)), ("2024-02-29", day));
        assert_eq!(Day::of(Timestamp::from_millis(-1)).to_string(), "1969-12-31");
        for text in ["", "2024-2-28", "2023-02-29", "2024-02-28T", "20240228", "2024-02-28Z", " 2024-02-28"] {
            assert_eq!(text.parse::<Day>(), Err(InvalidDay), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_day_prints_and_parses_back(number in 0i64..2_932_896) {
            prop_assert_eq!(Day(number).to_string().parse(), Ok(Day(number)));
        }
    }
}
