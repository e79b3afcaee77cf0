//! Settings of usage: what models cost, and how much a user may use in a day.

use clap::Args;

use super::wrong::Wrong;
use crate::{
    providers::setup::NAMES,
    usage::{Cost, DailyLimits, Prices},
};

#[derive(Debug, Clone, Args)]
pub struct UsageSettings {
    /// What models cost, as JSON by provider/model: a million tokens read (input) and written (output), and an image
    #[arg(long = "persona-prices", env = "PERSONA_PRICES", value_name = "JSON")]
    prices: Option<String>,
    /// Tokens one user may use in a day; 0 means no limit
    #[arg(long = "persona-max-tokens-per-day", env = "PERSONA_MAX_TOKENS_PER_DAY", default_value = "0", value_name = "COUNT")]
    max_tokens: String,
    /// Pictures one user may have drawn in a day; 0 means no limit
    #[arg(long = "persona-max-images-per-day", env = "PERSONA_MAX_IMAGES_PER_DAY", default_value = "0", value_name = "COUNT")]
    max_images: String,
    /// What one user may use in a day at the prices of PERSONA_PRICES, such as 0.50; 0 means no limit
    #[arg(long = "persona-max-cost-per-day", env = "PERSONA_MAX_COST_PER_DAY", default_value = "0", value_name = "AMOUNT")]
    max_cost: String,
}

/// What is used, and how much of it may be.
#[derive(Debug, Clone)]
pub struct UsageConfig {
    pub prices: Prices,
    pub daily_limits: DailyLimits,
}

impl UsageSettings {
    pub(super) fn read(&self, wrong: &mut Wrong) -> UsageConfig {
        let mut most = |text: &str, name| Some(wrong.count(text, name, 0) as u64).filter(|most| *most > 0);
        let (tokens, images) = (most(&self.max_tokens, "PERSONA_MAX_TOKENS_PER_DAY"), most(&self.max_images, "PERSONA_MAX_IMAGES_PER_DAY"));
        UsageConfig { prices: self.prices(wrong), daily_limits: DailyLimits { tokens, images, cost: self.max_cost(wrong) } }
    }

    fn max_cost(&self, wrong: &mut Wrong) -> Option<Cost> {
        const NAME: &str = "PERSONA_MAX_COST_PER_DAY";
        let cost: Option<Cost> = self.max_cost.trim().parse().inspect_err(|_| wrong.add(NAME, &self.max_cost, "an amount such as 0.50")).ok();
        let cost = cost.filter(|cost| *cost > Cost::default())?;
        if self.prices.as_deref().is_none_or(|prices| prices.trim().is_empty()) {
            wrong.say(format!("{NAME}: nothing costs anything without PERSONA_PRICES, expected both"));
        }
        Some(cost)
    }

    fn prices(&self, wrong: &mut Wrong) -> Prices {
        let Some(json) = self.prices.as_deref().filter(|json| !json.trim().is_empty()) else { return Prices::default() };
        let prices = Prices::read(json).unwrap_or_else(|error| {
            wrong.say(format!("PERSONA_PRICES: {error}"));
            Prices::default()
        });
        for name in prices.providers().filter(|name| *name != "*" && !NAMES.contains(name)) {
            wrong.say(format!("PERSONA_PRICES: {name:?} is no provider, expected laozhang, gemini, openai or *"));
        }
        prices
    }
}
