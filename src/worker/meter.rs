//! Counts what an attempt uses of its providers, call by call.
//!
//! Where a provider says how many tokens there were, that counts; where it doesn't, or breaks off, or is stopped, they are
//! guessed from what was shown and said, and marked so. A call of which nothing came counts nothing, unless it may have been
//! paid for. Refuses to know prices before the end: what is counted is counted without them.

use super::tokens;
use crate::{
    event::Usage,
    id::UserId,
    providers::{Role, TextRequest},
    store::UsageEntry,
    usage::{Amount, Prices},
};

/// What an attempt has used so far.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// About how many tokens each provider is shown.
    shown: u64,
    /// Who is asked now.
    asked: Option<Model>,
    /// Whether who is asked may have to be paid for a picture.
    draws: bool,
    calls: Vec<(Model, Amount)>,
}

#[derive(Debug, Clone)]
struct Model {
    provider: &'static str,
    name: String,
}

impl Meter {
    /// This is what providers are shown.
    pub fn shows(&mut self, request: &TextRequest) {
        let turn = |(role, text): &(Role, String)| tokens::estimate(text) + if let Role::User(name) = role { tokens::estimate(name) } else { 0 };
        self.shown = request.turns.iter().map(turn).sum();
    }

    /// A provider is asked; the one before has said `said`, and did not come to its end.
    pub fn asks(&mut self, provider: &'static str, model: String, said: &str) {
        self.breaks_off(said);
        self.asked = Some(Model { provider, name: model });
    }

    /// A text has come to its end.
    pub fn says(&mut self, usage: Option<Usage>, said: &str) {
        match usage {
            Some(Usage { input_tokens, output_tokens }) => self.counts(Amount { input_tokens, output_tokens, ..Amount::default() }),
            None => self.breaks_off(said),
        }
    }

    /// From here on a picture may be paid for.
    pub fn may_draw(&mut self) {
        self.draws = true;
    }

    /// A picture has come.
    pub fn draws(&mut self) {
        self.draws = false;
        self.counts(Amount { images: 1, ..Amount::default() });
    }

    /// No picture comes, and none is to be paid for.
    pub fn refuses(&mut self) {
        self.draws = false;
    }

    /// All that was used, at these prices; a text that is under way has come to `said`.
    #[must_use]
    pub fn read(mut self, user: &UserId, prices: &Prices, said: &str) -> Vec<UsageEntry> {
        self.breaks_off(said);
        let entry = |(model, amount): (Model, Amount)| UsageEntry {
            user: user.clone(),
            amount: Amount { cost: prices.cost(model.provider, &model.name, &amount), ..amount },
            provider: model.provider.to_owned(),
            model: model.name,
        };
        self.calls.into_iter().map(entry).collect()
    }

    /// Who is asked has no more to say than `said`, nor how much it was.
    fn breaks_off(&mut self, said: &str) {
        let output_tokens = tokens::estimate(said);
        if std::mem::take(&mut self.draws) {
            self.counts(Amount { estimated_calls: 1, images: 1, ..Amount::default() });
        } else if output_tokens > 0 {
            self.counts(Amount { estimated_calls: 1, input_tokens: self.shown, output_tokens, ..Amount::default() });
        }
        self.asked = None;
    }

    fn counts(&mut self, amount: Amount) {
        if let Some(model) = self.asked.take() {
            self.calls.push((model, Amount { calls: 1, ..amount }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Purpose;

    fn shown() -> Meter {
        let turns = vec![(Role::System, "rule".repeat(10)), (Role::User("Adam".into()), "word".repeat(9))];
        let mut meter = Meter::default();
        meter.shows(&TextRequest { purpose: Purpose::Chat, turns, route: Vec::new(), model: None, max_tokens: None });
        meter
    }

    fn read(meter: Meter, said: &str) -> Vec<(String, [u64; 5])> {
        let prices = Prices::read(r#"{"a/m": {"input": 1, "output": 10}, "b/*": {"image": 0.000003}}"#).unwrap();
        let entries = meter.read(&"u_1".parse().unwrap(), &prices, said).into_iter();
        let numbers = |amount: Amount| [amount.estimated_calls, amount.input_tokens, amount.output_tokens, amount.images, amount.cost.micros()];
        entries.map(|entry| (format!("{}/{} {}", entry.provider, entry.model, entry.amount.calls), numbers(entry.amount))).collect()
    }

    #[test]
    fn what_a_provider_says_of_its_tokens_counts_and_is_guessed_where_it_is_silent() {
        let mut told = shown();
        told.asks("a", "m".into(), "");
        told.says(Some(Usage { input_tokens: 7, output_tokens: 3 }), "four");
        assert_eq!(read(told, "four"), [("a/m 1".into(), [0, 7, 3, 0, 37])]);
        let mut silent = shown();
        silent.asks("a", "m".into(), "");
        silent.says(None, "fourfour");
        assert_eq!(read(silent, "fourfour"), [("a/m 1".into(), [1, 20, 2, 0, 40])]);
    }

    #[test]
    fn every_provider_that_said_something_counts_and_who_said_nothing_does_not() {
        let mut meter = shown();
        meter.asks("a", "m".into(), "");
        meter.asks("b", "n".into(), "four");
        meter.asks("a", "o".into(), "");
        let stopped = [("a/m 1".into(), [1, 20, 1, 0, 30]), ("a/o 1".into(), [1, 20, 1, 0, 0])];
        assert_eq!(read(meter.clone(), "four"), stopped);
        assert_eq!(read(meter, ""), stopped[..1]);
    }

    #[test]
    fn a_picture_counts_when_it_comes_or_may_have_been_paid_for() {
        let asked = || {
            let mut meter = Meter::default();
            meter.asks("b", "draws".into(), "");
            meter.may_draw();
            meter
        };
        let (mut came, mut refused) = (asked(), asked());
        came.draws();
        refused.refuses();
        assert_eq!(read(came, ""), [("b/draws 1".into(), [0, 0, 0, 1, 3])]);
        assert_eq!(read(refused, ""), []);
        assert_eq!(read(asked(), ""), [("b/draws 1".into(), [1, 0, 0, 1, 3])]);
    }
}
