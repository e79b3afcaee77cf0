//! Settings of what is generated: how much a reply is shown, and what may be asked for.

use clap::Args;

use super::{providers::targets, wrong::Wrong};
use crate::{
    model::{AllowList, KnownModels, Target},
    providers::{offline, setup::ProviderConfig},
};

#[derive(Debug, Clone, Args)]
pub struct GenerationSettings {
    /// Tokens that a reply and what it is shown of its room may have together, where its persona doesn't say
    #[arg(long = "persona-context-tokens", env = "PERSONA_CONTEXT_TOKENS", default_value = "8000", value_name = "COUNT")]
    context_tokens: String,
    /// Which models clients may ask for in chat and for texts: provider/model,provider/model [default: those of the routes]
    #[arg(long = "persona-text-models", env = "PERSONA_TEXT_MODELS", value_name = "TARGETS")]
    text_models: Option<String>,
    /// Which models clients may ask for pictures [default: those of the route]
    #[arg(long = "persona-image-models", env = "PERSONA_IMAGE_MODELS", value_name = "TARGETS")]
    image_models: Option<String>,
}

/// What is generated, and within which limits.
#[derive(Debug, Clone)]
pub struct GenerationConfig {
    pub context_tokens: u32,
    /// What clients may ask for.
    pub models: AllowList,
    /// What personas may speak with.
    pub known: KnownModels,
}

impl GenerationSettings {
    pub(super) fn read(&self, providers: &ProviderConfig, wrong: &mut Wrong) -> GenerationConfig {
        let models = self.models(providers, wrong);
        GenerationConfig {
            context_tokens: wrong.number(&self.context_tokens, "PERSONA_CONTEXT_TOKENS", 256, 1_000_000) as u32,
            known: known(providers, &models),
            models,
        }
    }

    fn models(&self, providers: &ProviderConfig, wrong: &mut Wrong) -> AllowList {
        let text = targets(wrong, "PERSONA_TEXT_MODELS", self.text_models.as_deref());
        let image = targets(wrong, "PERSONA_IMAGE_MODELS", self.image_models.as_deref());
        let names = providers.names();
        if names.is_empty() {
            return AllowList { text: vec![offline::writer()], image: vec![offline::painter()] };
        }
        for (setting, list) in [("PERSONA_TEXT_MODELS", &text), ("PERSONA_IMAGE_MODELS", &image)] {
            for target in list.iter().filter(|target| !names.contains(&target.provider.as_str())) {
                wrong.add(setting, &target.to_string(), &format!("a provider that has its key: {}", names.join(", ")));
            }
        }
        let routes = providers.routes();
        let or = |given: Vec<Target>, default: Vec<Target>| if given.is_empty() { default } else { given };
        AllowList { text: once(or(text, [routes.chat, routes.text].concat())), image: once(or(image, routes.image)) }
    }
}

/// What personas may speak with: what clients may ask for, what the routes name, and what PERSONA_MODELS describes.
fn known(providers: &ProviderConfig, allowed: &AllowList) -> KnownModels {
    let names = providers.names();
    if names.is_empty() {
        let writer = offline::writer();
        return KnownModels { models: vec![writer.to_string()], providers: vec![writer.provider] };
    }
    let routes = providers.routes();
    let targets = once([allowed.text.as_slice(), &routes.chat, &routes.text].concat());
    let models = targets.iter().map(ToString::to_string).chain(providers.models.names().map(str::to_owned)).collect();
    KnownModels { providers: names.into_iter().map(str::to_owned).collect(), models }
}

/// Each of them once, in the order in which it comes first.
fn once(targets: Vec<Target>) -> Vec<Target> {
    targets.into_iter().fold(Vec::new(), |mut list, target| {
        if !list.contains(&target) {
            list.push(target);
        }
        list
    })
}
