//! Which providers there are, from their keys; and which of them serves what, where the settings don't say.
//!
//! Without any key the offline provider serves, and it alone.

use std::{sync::Arc, time::Duration};

use super::{
    Key, Provider,
    gemini::Gemini,
    http::{self, Patience},
    offline::Offline,
    openai_compatible::OpenAiCompatible,
    router::{Router, Routes},
};
use crate::model::Target;

/// A provider's key and address.
#[derive(Debug, Clone)]
pub struct Account {
    pub key: Key,
    pub base_url: String,
}

/// Whose services may be used, and how.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    pub laozhang: Option<Account>,
    pub gemini: Option<Account>,
    pub openai: Option<Account>,
    /// As the settings say; an empty list is filled from the accounts.
    pub routes: Routes,
    /// Whether a picture may be fetched from a private address.
    pub may_be_local: bool,
    /// How long the offline provider takes for a word.
    pub offline_pace: Duration,
}

/// LaoZhang's address.
pub const LAOZHANG_URL: &str = "https://api.laozhang.ai/v1";
/// Gemini's address.
pub const GEMINI_URL: &str = "https://generativelanguage.googleapis.com";
/// OpenAI's address.
pub const OPENAI_URL: &str = "https://api.openai.com/v1";

/// What each account serves where the settings don't say: a model for texts and one for pictures.
const DEFAULTS: [(&str, &str, &str); 3] = [
    ("laozhang", "gemini-3.5-flash-lite", "gemini-3.1-flash-lite-image"),
    ("gemini", "gemini-3.5-flash", "gemini-3.1-flash-image"),
    ("openai", "gpt-5.6-sol", "gpt-image-2"),
];

impl ProviderConfig {
    /// The providers behind one router, or the offline one where there is no account.
    ///
    /// # Errors
    /// Where the system has no certificates to trust.
    pub fn build(&self) -> Result<Arc<dyn Provider>, reqwest::Error> {
        let names = self.names();
        if names.is_empty() {
            return Ok(Arc::new(Offline { pace: self.offline_pace }));
        }
        let patience = Patience::default();
        let client = http::client(patience)?;
        let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
        let compatible = |name, account: &Account| OpenAiCompatible {
            name,
            base_url: account.base_url.clone(),
            key: account.key.clone(),
            max_tokens_name: if account.base_url == OPENAI_URL { "max_completion_tokens" } else { "max_tokens" }.into(),
            chat_drawers: ["gemini-*", "sora_image", "gpt-4o-image"].map(str::to_owned).to_vec(),
            may_be_local: self.may_be_local,
            client: client.clone(),
            patience,
        };
        providers.extend(self.laozhang.iter().map(|account| Arc::new(compatible("laozhang", account)) as Arc<dyn Provider>));
        providers.extend(self.openai.iter().map(|account| Arc::new(compatible("openai", account)) as Arc<dyn Provider>));
        if let Some(Account { key, base_url }) = self.gemini.clone() {
            providers.push(Arc::new(Gemini { base_url, key, client, patience }));
        }
        let routes = self.routes();
        log::info!("providers: chat by {}, text by {}, images by {}", list(&routes.chat), list(&routes.text), list(&routes.image));
        Ok(Arc::new(Router::new(providers, routes)))
    }

    /// What the routes name though nobody serves it.
    #[must_use]
    pub fn targets_without_account(&self) -> Vec<&Target> {
        let names = self.names();
        let Routes { chat, text, image } = &self.routes;
        chat.iter().chain(text).chain(image).filter(|target| !names.contains(&target.provider.as_str())).collect()
    }

    /// Every provider that has an account.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let accounts = [("laozhang", &self.laozhang), ("gemini", &self.gemini), ("openai", &self.openai)];
        accounts.into_iter().filter(|(_, account)| account.is_some()).map(|(name, _)| name).collect()
    }

    /// What serves what: as the settings say, else from the accounts.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let names = self.names();
        let own = || DEFAULTS.iter().filter(|(name, ..)| names.contains(name));
        let target = |provider: &str, model: &str| Target { provider: provider.to_owned(), model: model.to_owned() };
        let texts = || own().map(|(name, text, _)| target(name, text)).collect::<Vec<_>>();
        let or = |given: &[Target], default: Vec<Target>| if given.is_empty() { default } else { given.to_vec() };
        Routes {
            chat: or(&self.routes.chat, texts()),
            text: or(&self.routes.text, texts()),
            image: or(&self.routes.image, own().map(|(name, _, image)| target(name, image)).collect()),
        }
    }
}

fn list(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
