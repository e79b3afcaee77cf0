//! What is used of providers, counted: tokens, pictures, and what they cost.
//!
//! Refuses to know what a call is for, and where the counts are kept.

mod day;
mod limits;
mod prices;

use std::{fmt, ops::AddAssign, str::FromStr};

use serde::{Serialize, Serializer};

pub use self::{
    day::{Day, InvalidDay},
    limits::{DailyLimits, Need, Reached},
    prices::{Price, Prices},
};

/// An amount of money in millionths, in whatever currency the prices are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cost(u64);

impl Cost {
    /// So many millionths.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Millionths.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, format!("{:06}", self.0 % 1_000_000));
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { write!(f, "{whole}") } else { write!(f, "{whole}.{rest}") }
    }
}

/// As a number, in whole units of the currency.
impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "exact below nine thousand millions, and no bill is higher")]
        serializer.serialize_f64(self.0 as f64 / 1e6)
    }
}

/// The text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a number with at most six places, such as 0.25")]
pub struct InvalidCost;

impl FromStr for Cost {
    type Err = InvalidCost;

    fn from_str(text: &str) -> Result<Self, InvalidCost> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str, most: usize| (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(whole, 9) && is_number(rest, 6)).then_some(()).ok_or(InvalidCost)?;
        let whole: u64 = whole.parse().map_err(|_| InvalidCost)?;
        let rest: u64 = format!("{rest:0<6}").parse().map_err(|_| InvalidCost)?;
        Ok(Self(whole * 1_000_000 + rest))
    }
}

/// How much was used, in one call or in many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    pub calls: u64,
    /// Those among the calls whose provider did not say how much they used: it is guessed.
    #[serde(skip_serializing_if = "is_zero")]
    pub estimated_calls: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub images: u64,
    pub cost: Cost,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Amount {
    /// Tokens of either kind.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.estimated_calls += other.estimated_calls;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.images += other.images;
        self.cost.0 += other.cost.0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_of_money_has_at_most_six_places() {
        for (text, micros) in [("0", 0), ("1", 1_000_000), ("0.25", 250_000), ("12.000001", 12_000_001), ("3.50", 3_500_000)] {
            assert_eq!(text.parse(), Ok(Cost(micros)), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "1,5", "1000000000", " 1"] {
            assert_eq!(text.parse::<Cost>(), Err(InvalidCost), "{text}");
        }
        assert_eq!(serde_json::to_string(&Cost(1_250_001)).unwrap(), "1.250001");
    }

    proptest! {
        #[test]
        fn an_amount_of_money_prints_and_parses_back(micros in 0u64..1_000_000_000_000_000) {
            prop_assert_eq!(Cost(micros).to_string().parse(), Ok(Cost(micros)));
        }
    }
}
