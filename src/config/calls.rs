//! Settings of how providers are called: patience, limits, and what differs between models.

use clap::Args;

use super::wrong::Wrong;
use crate::providers::{
    models::Models,
    router::{breaker::Rests, turns::Concurrency},
    setup::NAMES,
    wire::Patience,
};

#[derive(Debug, Clone, Args)]
pub struct CallSettings {
    /// What differs between models, as JSON by provider/model: names of parameters, and how they draw
    #[arg(long = "persona-models", env = "PERSONA_MODELS", value_name = "JSON")]
    models: Option<String>,
    /// How long a connection to a provider may take, in milliseconds
    #[arg(long = "persona-provider-connect-ms", env = "PERSONA_PROVIDER_CONNECT_MS", default_value = "5000", value_name = "MS")]
    connect_ms: String,
    /// How long a provider may take for the first piece of a text, in milliseconds
    #[arg(long = "persona-provider-first-ms", env = "PERSONA_PROVIDER_FIRST_MS", default_value = "60000", value_name = "MS")]
    first_ms: String,
    /// How long a provider may be silent within a text, in milliseconds
    #[arg(long = "persona-provider-gap-ms", env = "PERSONA_PROVIDER_GAP_MS", default_value = "90000", value_name = "MS")]
    gap_ms: String,
    /// How long a text or a picture may take in all, with every provider that is tried, in milliseconds
    #[arg(long = "persona-provider-total-ms", env = "PERSONA_PROVIDER_TOTAL_MS", default_value = "600000", value_name = "MS")]
    total_ms: String,
    /// Requests a provider may have at once, of this process; 0 means no limit, and provider=COUNT sets another for one
    #[arg(long = "persona-provider-concurrency", env = "PERSONA_PROVIDER_CONCURRENCY", default_value = "64", value_name = "COUNTS")]
    concurrency: String,
    /// How long a provider that has too much to do is left alone where it does not say, in milliseconds
    #[arg(long = "persona-provider-rest-ms", env = "PERSONA_PROVIDER_REST_MS", default_value = "5000", value_name = "MS")]
    rest_ms: String,
    /// How long a provider is left alone whose account or key is the trouble, in milliseconds
    #[arg(long = "persona-provider-long-rest-ms", env = "PERSONA_PROVIDER_LONG_REST_MS", default_value = "600000", value_name = "MS")]
    long_rest_ms: String,
}

/// How providers are called.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) models: Models,
    pub(super) patience: Patience,
    pub(super) concurrency: Concurrency,
    pub(super) rests: Rests,
}

impl CallSettings {
    pub(super) fn read(&self, wrong: &mut Wrong) -> Calls {
        let patience = Patience {
            connect: wrong.millis(&self.connect_ms, "PERSONA_PROVIDER_CONNECT_MS", 1),
            first: wrong.millis(&self.first_ms, "PERSONA_PROVIDER_FIRST_MS", 1),
            between: wrong.millis(&self.gap_ms, "PERSONA_PROVIDER_GAP_MS", 1),
            total: wrong.millis(&self.total_ms, "PERSONA_PROVIDER_TOTAL_MS", 1),
        };
        if patience.first > patience.total {
            wrong.say("PERSONA_PROVIDER_FIRST_MS: longer than PERSONA_PROVIDER_TOTAL_MS, expected at most as long".into());
        }
        Calls {
            models: self.models(wrong),
            patience,
            concurrency: self.concurrency(wrong),
            rests: Rests {
                short: wrong.millis(&self.rest_ms, "PERSONA_PROVIDER_REST_MS", 1),
                long: wrong.millis(&self.long_rest_ms, "PERSONA_PROVIDER_LONG_REST_MS", 1),
            },
        }
    }

    fn models(&self, wrong: &mut Wrong) -> Models {
        let Some(json) = self.models.as_deref().filter(|json| !json.trim().is_empty()) else { return Models::default() };
        let models = Models::read(json).unwrap_or_else(|error| {
            wrong.say(format!("PERSONA_MODELS: {error}"));
            Models::default()
        });
        for name in models.providers().filter(|name| *name != "*" && !NAMES.contains(name)) {
            wrong.say(format!("PERSONA_MODELS: {name:?} is no provider, expected laozhang, gemini, openai or *"));
        }
        models
    }

    fn concurrency(&self, wrong: &mut Wrong) -> Concurrency {
        const RIGHT: &str = "COUNT or COUNT,provider=COUNT, a provider being laozhang, gemini or openai";
        let mut concurrency = Concurrency::default();
        for part in self.concurrency.split(',').map(str::trim) {
            let (name, count) = part.split_once('=').unwrap_or(("", part));
            match count.trim().parse() {
                Ok(count) if name.is_empty() => concurrency.each = count,
                Ok(count) if NAMES.contains(&name.trim()) => drop(concurrency.of.insert(name.trim().to_owned(), count)),
                _ => {
                    wrong.add("PERSONA_PROVIDER_CONCURRENCY", &self.concurrency, RIGHT);
                    break;
                }
            }
        }
        concurrency
    }
}
