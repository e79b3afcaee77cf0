//! What models cost: a table of the operator's, by provider and model.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Amount, Cost};
use crate::model::{self, Target};

/// What one model costs. What is absent costs nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Price {
    /// A million tokens that it reads.
    pub input: f64,
    /// A million tokens that it writes.
    pub output: f64,
    /// A picture.
    pub image: f64,
}

/// Prices by `provider/model`; a name may have `*` for anything, and of those that fit the longest counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// Reads `{"provider/model": {"input": …, "output": …, "image": …}}`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(json: &str) -> Result<Self, String> {
        let prices: BTreeMap<String, Price> =
            serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())?;
        for (name, Price { input, output, image }) in &prices {
            if name.parse::<Target>().is_err() {
                return Err(format!("{name:?} is not provider/model"));
            }
            if [input, output, image].iter().any(|price| !(0.0..=1e6).contains(*price)) {
                return Err(format!("{name}: a price is a number from 0 to 1000000"));
            }
        }
        Ok(Self(prices))
    }

    /// The providers that are named.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.split('/').next())
    }

    /// What so much of a model costs, rounded to a millionth; nothing where it has no price.
    #[must_use]
    pub fn cost(&self, provider: &str, model: &str, amount: &Amount) -> Cost {
        let name = format!("{provider}/{model}");
        let fitting = self.0.iter().filter(|(pattern, _)| model::fits(pattern, &name));
        let Some((_, price)) = fitting.max_by_key(|(pattern, _)| pattern.len()) else { return Cost::default() };
        // A price for a million is in millionths the price of one.
        #[expect(clippy::cast_precision_loss, reason = "no call has more tokens than a float can count")]
        let micros = amount.input_tokens as f64 * price.input + amount.output_tokens as f64 * price.output + amount.images as f64 * price.image * 1e6;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "prices and amounts are not negative, and `as` saturates")]
        Cost::from_micros(micros.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_that_fits_gives_the_price() {
        let prices =
            Prices::read(r#"{"openai/*": {"input": 1, "output": 2}, "openai/gpt-5*": {"input": 1.25, "output": 10}, "*/draws": {"image": 0.04}}"#)
                .unwrap();
        let amount = Amount { input_tokens: 1000, output_tokens: 100, images: 1, ..Amount::default() };
        let micros = |provider: &str, model: &str| prices.cost(provider, model, &amount).micros();
        assert_eq!(
            [micros("openai", "m"), micros("openai", "gpt-5-mini"), micros("gemini", "draws"), micros("gemini", "m")],
            [1200, 2250, 40_000, 0]
        );
    }

    #[test]
    fn what_is_wrong_with_a_price_is_told() {
        for (json, said) in [
            ("[]", "invalid type"),
            (r#"{"openai": {}}"#, "\"openai\" is not provider/model"),
            (r#"{"openai/x": {"in": 1}}"#, "unknown field `in`"),
            (r#"{"openai/x": {"input": -1}}"#, "openai/x: a price is a number"),
            (r#"{"openai/x": {"image": "0.1"}}"#, "openai/x.image: invalid type"),
        ] {
            let wrong = Prices::read(json).unwrap_err();
            assert!(wrong.contains(said), "{json}: {wrong}");
        }
    }
}
