//! Settings of those who do the generating.

use clap::Args;

use super::{calls::CallSettings, wrong::Wrong};
use crate::{
    model::Target,
    providers::{
        Key,
        router::Routes,
        setup::{self, Account, ProviderConfig},
    },
};

#[derive(Debug, Clone, Args)]
pub struct ProviderSettings {
    /// LaoZhang's key
    #[arg(long = "laozhang-api-key", env = "LAOZHANG_API_KEY", hide_env_values = true, value_name = "KEY")]
    laozhang_api_key: Option<String>,
    /// LaoZhang's address
    #[arg(long = "laozhang-base-url", env = "LAOZHANG_BASE_URL", default_value = setup::LAOZHANG_URL, value_name = "URL")]
    laozhang_base_url: String,
    /// Gemini's key
    #[arg(long = "gemini-api-key", env = "GEMINI_API_KEY", hide_env_values = true, value_name = "KEY")]
    gemini_api_key: Option<String>,
    /// Gemini's address
    #[arg(long = "gemini-base-url", env = "GEMINI_BASE_URL", default_value = setup::GEMINI_URL, value_name = "URL")]
    gemini_base_url: String,
    /// The key of OpenAI, or of whoever speaks its protocol at OPENAI_BASE_URL
    #[arg(long = "openai-api-key", env = "OPENAI_API_KEY", hide_env_values = true, value_name = "KEY")]
    openai_api_key: Option<String>,
    /// Where OpenAI's protocol is spoken: OpenRouter, Ollama, vLLM…; a server of one's own needs no key
    #[arg(long = "openai-base-url", env = "OPENAI_BASE_URL", default_value = setup::OPENAI_URL, value_name = "URL")]
    openai_base_url: String,
    /// Who answers in rooms, in order: provider/model,provider/model [default: from the keys]
    #[arg(long = "persona-chat-route", env = "PERSONA_CHAT_ROUTE", value_name = "TARGETS")]
    chat_route: Option<String>,
    /// Who writes texts, in order [default: from the keys]
    #[arg(long = "persona-text-route", env = "PERSONA_TEXT_ROUTE", value_name = "TARGETS")]
    text_route: Option<String>,
    /// Who draws, in order [default: from the keys]
    #[arg(long = "persona-image-route", env = "PERSONA_IMAGE_ROUTE", value_name = "TARGETS")]
    image_route: Option<String>,
    /// Fetch pictures from private addresses too, where a provider of one's own gives such URLs
    #[arg(long = "persona-local-pictures", env = "PERSONA_LOCAL_PICTURES")]
    local_pictures: bool,
    /// How fast the built-in offline provider speaks, in milliseconds a word
    #[arg(long = "persona-offline-pace-ms", env = "PERSONA_OFFLINE_PACE_MS", default_value = "30", value_name = "MS")]
    offline_pace_ms: String,
    #[command(flatten)]
    calls: CallSettings,
}

impl ProviderSettings {
    pub(super) fn read(&self, wrong: &mut Wrong) -> ProviderConfig {
        let account = |key: &Option<String>, base_url: &str| {
            let key = key.as_deref().map(str::trim).filter(|key| !key.is_empty())?;
            Some(Account { key: Key::new(key), base_url: base_url.to_owned() })
        };
        let own_server =
            || (self.openai_base_url != setup::OPENAI_URL).then(|| Account { key: Key::default(), base_url: self.openai_base_url.clone() });
        for (name, url) in
            [("LAOZHANG_BASE_URL", &self.laozhang_base_url), ("GEMINI_BASE_URL", &self.gemini_base_url), ("OPENAI_BASE_URL", &self.openai_base_url)]
        {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                wrong.add(name, url, "a URL that begins with https:// or http://");
            }
        }
        let calls = self.calls.read(wrong);
        let config = ProviderConfig {
            laozhang: account(&self.laozhang_api_key, &self.laozhang_base_url),
            gemini: account(&self.gemini_api_key, &self.gemini_base_url),
            openai: account(&self.openai_api_key, &self.openai_base_url).or_else(own_server),
            routes: Routes {
                chat: targets(wrong, "PERSONA_CHAT_ROUTE", self.chat_route.as_deref()),
                text: targets(wrong, "PERSONA_TEXT_ROUTE", self.text_route.as_deref()),
                image: targets(wrong, "PERSONA_IMAGE_ROUTE", self.image_route.as_deref()),
            },
            models: calls.models,
            patience: calls.patience,
            rests: calls.rests,
            concurrency: calls.concurrency,
            may_be_local: self.local_pictures,
            offline_pace: wrong.millis(&self.offline_pace_ms, "PERSONA_OFFLINE_PACE_MS", 0),
        };
        for target in config.targets_without_account() {
            wrong.say(format!("{target}: a route names a provider that has no key; expected laozhang, gemini or openai, with its key set"));
        }
        config
    }
}

/// The targets of a list, `provider/model,provider/model`.
pub(super) fn targets(wrong: &mut Wrong, name: &str, text: Option<&str>) -> Vec<Target> {
    let text = text.unwrap_or_default().trim();
    let targets: Result<Vec<Target>, _> = text.split(',').filter(|target| !target.is_empty()).map(str::parse).collect();
    targets.unwrap_or_else(|_| {
        wrong.add(name, text, "provider/model,provider/model, a provider being laozhang, gemini or openai");
        Vec::new()
    })
}
