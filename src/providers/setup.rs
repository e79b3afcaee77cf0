//! Which providers there are, from their keys; and which of them serves what, where the settings don't say.
//!
//! Without any key the offline provider serves, and it alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Key, Provider,
    gemini::Gemini,
    models::Models,
    offline::Offline,
    openai_compatible::OpenAiCompatible,
    router::{
        Router, Routes,
        breaker::Rests,
        turns::{Concurrency, InProcess},
    },
    wire::{self, Caller, Patience},
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
    pub models: Models,
    pub patience: Patience,
    pub rests: Rests,
    pub concurrency: Concurrency,
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
/// Every provider that can have a key.
pub const NAMES: [&str; 3] = ["laozhang", "gemini", "openai"];

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
        let providers = self.providers()?;
        if providers.is_empty() {
            return Ok(Arc::new(Offline { pace: self.offline_pace }));
        }
        let routes = self.routes();
        log::info!("providers: chat by {}, text by {}, images by {}", list(&routes.chat), list(&routes.text), list(&routes.image));
        let turns = InProcess::new(&self.concurrency, providers.keys().copied());
        Ok(Arc::new(Router::new(providers.into_values().collect(), routes, self.rests, Arc::new(turns), self.patience)))
    }

    /// Every provider that has an account, by its name.
    ///
    /// # Errors
    /// Where the system has no certificates to trust.
    pub fn providers(&self) -> Result<HashMap<&'static str, Arc<dyn Provider>>, reqwest::Error> {
        let models = Arc::new(self.models.clone());
        let client = if self.names().is_empty() { return Ok(HashMap::new()) } else { wire::client(self.patience)? };
        let caller = |name, account: &Account| Caller { name, key: account.key.clone(), client: client.clone(), patience: self.patience };
        let mut providers: HashMap<&'static str, Arc<dyn Provider>> = HashMap::new();
        for (name, account) in [("laozhang", &self.laozhang), ("openai", &self.openai)] {
            let Some(account) = account else { continue };
            let (caller, base_url, models) = (caller(name, account), account.base_url.clone(), models.clone());
            providers.insert(name, Arc::new(OpenAiCompatible { caller, base_url, models, may_be_local: self.may_be_local }));
        }
        if let Some(account) = &self.gemini {
            providers.insert("gemini", Arc::new(Gemini { caller: caller("gemini", account), base_url: account.base_url.clone(), models }));
        }
        Ok(providers)
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
