//! Tries every target of the routes, as cheaply as can be: a few tokens of a text; of what draws only whether it is there.
//!
//! Refuses to draw: a picture costs money.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future};
use serde::Serialize;

use super::{Fault, Provider, ProviderError, Purpose, Role, TextRequest, TextStep, router::Routes, setup::ProviderConfig};
use crate::{event::Usage, model::Target};

/// What was asked, and how much of an answer is wanted: enough for a model that thinks a little first.
const PROMPT: &str = "Answer with the one word: ready";
const MAX_TOKENS: u32 = 64;

/// What came of trying one target.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// `provider/model`.
    pub target: String,
    /// What it serves: `chat`, `text`, `image`.
    pub serves: Vec<&'static str>,
    pub works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    pub total_ms: u64,
    /// What the provider calls the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What the provider says is wrong, or worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What its operator can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Tries all targets at once. Where no provider has a key there is none to try.
///
/// # Errors
/// Where the system has no certificates to trust.
pub async fn check(config: &ProviderConfig) -> Result<Vec<Checked>, reqwest::Error> {
    let providers = config.providers()?;
    let Routes { chat, text, image } = config.routes();
    let mut targets: Vec<(Target, Vec<&'static str>)> = Vec::new();
    for (list, serves) in [(chat, "chat"), (text, "text"), (image, "image")] {
        for target in list {
            match targets.iter_mut().find(|(known, _)| *known == target) {
                Some((_, all)) => all.push(serves),
                None => targets.push((target, vec![serves])),
            }
        }
    }
    let tried = targets.into_iter().filter_map(|(target, serves)| Some(try_one(providers.get(target.provider.as_str())?.clone(), target, serves)));
    Ok(future::join_all(tried).await)
}

async fn try_one(provider: Arc<dyn Provider>, target: Target, serves: Vec<&'static str>) -> Checked {
    let begun = Instant::now();
    let mut checked = Checked {
        target: target.to_string(),
        serves,
        works: true,
        first_token_ms: None,
        total_ms: 0,
        model: None,
        usage: None,
        fault: None,
        detail: None,
        advice: None,
        request_id: None,
    };
    let outcome = if checked.serves == ["image"] {
        checked.detail = Some("is offered; nothing was drawn".into());
        provider.offers(&target.model).await
    } else {
        say(provider, &target, begun, &mut checked).await
    };
    checked.total_ms = millis(begun.elapsed());
    match outcome {
        Ok(()) => {}
        Err(error) if error.fault == Fault::SaidNothing => {
            checked.detail = Some(format!("it thinks: all of {MAX_TOKENS} tokens went into thoughts"));
        }
        Err(error) => {
            checked.works = false;
            checked.advice = advice(&error, &target.provider);
            (checked.fault, checked.detail, checked.request_id) = (Some(error.fault), Some(error.detail), error.request_id);
        }
    }
    checked
}

async fn say(provider: Arc<dyn Provider>, target: &Target, begun: Instant, checked: &mut Checked) -> Result<(), ProviderError> {
    let request = TextRequest {
        purpose: Purpose::Chat,
        turns: vec![(Role::User(String::new()), PROMPT.into())],
        route: Vec::new(),
        model: Some(target.model.clone()),
        max_tokens: Some(MAX_TOKENS),
    };
    let mut steps = provider.text(request);
    while let Some(step) = steps.next().await {
        match step? {
            TextStep::Begin { .. } => {}
            TextStep::Delta { .. } => {
                checked.first_token_ms.get_or_insert(millis(begun.elapsed()));
            }
            TextStep::Done { model, usage, .. } => (checked.model, checked.usage) = (Some(model), usage),
        }
    }
    Ok(())
}

/// What can be done about a fault.
fn advice(error: &ProviderError, provider: &str) -> Option<String> {
    let name = provider.to_uppercase();
    Some(match error.fault {
        Fault::Unauthorized => format!("look whether {name}_API_KEY is the right key, and may use this model"),
        Fault::OutOfCredit => "the account has no credit or quota left: top it up, or take the target out of the routes".into(),
        Fault::ModelMissing => "there is no such model for this key: look at the provider's list, and name another in the routes".into(),
        Fault::Unreachable => format!("look whether {name}_BASE_URL is right, and can be reached from here"),
        Fault::TimedOut => "it is slow or silent: try again, or give it longer (PERSONA_PROVIDER_FIRST_MS)".into(),
        Fault::Rejected => "a parameter may have another name for this model: see PERSONA_MODELS".into(),
        Fault::Overloaded => match error.retry_after {
            Some(pause) => format!("it wants to be asked again after {} s", pause.as_secs_f64().ceil()),
            None => "it has too much to do: try again".into(),
        },
        Fault::BrokeOff | Fault::Malformed => format!("what answers at {name}_BASE_URL may not speak this protocol"),
        Fault::NoRoom | Fault::Blocked | Fault::SaidNothing => return None,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
