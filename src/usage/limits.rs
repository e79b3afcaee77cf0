//! How much a user may use in a day.

use super::{Amount, Cost};

/// The most that each user may use in a day; nothing means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DailyLimits {
    /// Tokens read and written, together.
    pub tokens: Option<u64>,
    pub images: Option<u64>,
    pub cost: Option<Cost>,
}

/// What a request would use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A text or a reply: tokens, which may cost something.
    Text,
    /// A picture, which may cost something.
    Image,
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Tokens { used: u64, limit: u64 },
    Images { used: u64, limit: u64 },
    Cost { used: Cost, limit: Cost },
}

impl DailyLimits {
    /// Whether there is any limit for what needs this.
    #[must_use]
    pub fn apply_to(&self, need: Need) -> bool {
        self.cost.is_some() || self.of(need).is_some()
    }

    /// The limit that somebody who has used so much has reached, if what they want falls under it.
    #[must_use]
    pub fn reached(&self, need: Need, used: &Amount) -> Option<Reached> {
        let of_need = self.of(need).and_then(|limit| match need {
            Need::Text => (used.tokens() >= limit).then(|| Reached::Tokens { used: used.tokens(), limit }),
            Need::Image => (used.images >= limit).then_some(Reached::Images { used: used.images, limit }),
        });
        let of_cost = || self.cost.filter(|limit| used.cost >= *limit).map(|limit| Reached::Cost { used: used.cost, limit });
        of_need.or_else(of_cost)
    }

    fn of(&self, need: Need) -> Option<u64> {
        match need {
            Need::Text => self.tokens,
            Need::Image => self.images,
        }
    }
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tokens { used, limit } => write!(f, "you have used {used} tokens today, and {limit} are the most of a day"),
            Self::Images { used, limit } => write!(f, "you have asked for {used} pictures today, and {limit} are the most of a day"),
            Self::Cost { used, limit } => write!(f, "what you have used today costs {used}, and {limit} is the most of a day"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_limit_texts_pictures_limit_pictures_and_money_limits_both() {
        let used = Amount { input_tokens: 60, output_tokens: 40, images: 2, cost: Cost::from_micros(5), ..Amount::default() };
        let none = DailyLimits::default();
        assert!([Need::Text, Need::Image].iter().all(|need| none.reached(*need, &used).is_none() && !none.apply_to(*need)));
        let tokens = DailyLimits { tokens: Some(100), ..none };
        assert_eq!(tokens.reached(Need::Text, &used), Some(Reached::Tokens { used: 100, limit: 100 }));
        assert_eq!((tokens.reached(Need::Image, &used), tokens.apply_to(Need::Image)), (None, false));
        assert_eq!(DailyLimits { tokens: Some(101), ..none }.reached(Need::Text, &used), None);
        let images = DailyLimits { images: Some(2), ..none };
        assert_eq!(images.reached(Need::Image, &used), Some(Reached::Images { used: 2, limit: 2 }));
        assert_eq!(images.reached(Need::Text, &used), None);
        let cost = DailyLimits { cost: Some(Cost::from_micros(5)), tokens: Some(1000), ..none };
        assert!([Need::Text, Need::Image].iter().all(|need| matches!(cost.reached(*need, &used), Some(Reached::Cost { .. }))));
    }
}
