//! What differs between models that speak the same protocol: names of parameters, and how they draw. Settings, not code.
//!
//! What is known of them stands in `models.json`, by host and model; `PERSONA_MODELS` adds to it, by provider and model, in
//! the same words. Of all entries that fit, the one with the longer name counts.

use std::{collections::BTreeMap, fmt};

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::model::fits;

/// What is known of models, by host and model.
const KNOWN: &str = include_str!("models.json");

/// How one model wants to be asked. What is absent is as its protocol has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSettings {
    /// What the limit of tokens is called.
    pub max_tokens_name: Option<String>,
    pub temperature: Option<f64>,
    /// How much it thinks: a level, such as `low`, or a number of tokens.
    pub thinking: Option<Thinking>,
    /// How it draws.
    pub images: Option<Drawing>,
    /// How many drafts of a picture it shows, 0 to 3.
    pub partial_images: Option<u8>,
    /// What it is to answer with: `image`, `text`.
    pub modalities: Option<Vec<String>>,
    /// Where a picture's aspect ratio goes: `prompt`, or the name of a parameter, `a.b` being b within a.
    pub ratio: Option<String>,
    /// Changes to the request's body, as a JSON merge patch (RFC 7396): adds, replaces, and, by null, takes away.
    pub parameters: Option<Value>,
}

/// How much a model thinks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Thinking {
    Level(String),
    Tokens(i64),
}

/// How a model draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawing {
    /// By `POST /images/generations`.
    Images,
    /// Inside of a chat's answer.
    Chat,
}

impl ModelSettings {
    /// These, and what `other` says besides or in their place.
    fn and(mut self, other: &Self) -> Self {
        fn over<T: Clone>(old: &mut Option<T>, new: Option<&T>) {
            if let Some(new) = new {
                *old = Some(new.clone());
            }
        }
        over(&mut self.max_tokens_name, other.max_tokens_name.as_ref());
        over(&mut self.temperature, other.temperature.as_ref());
        over(&mut self.thinking, other.thinking.as_ref());
        over(&mut self.images, other.images.as_ref());
        over(&mut self.partial_images, other.partial_images.as_ref());
        over(&mut self.modalities, other.modalities.as_ref());
        over(&mut self.ratio, other.ratio.as_ref());
        self.parameters = match (self.parameters.take(), &other.parameters) {
            (Some(Value::Object(mut old)), Some(Value::Object(new))) => {
                // Not a merge: a null in a patch has a meaning of its own.
                old.extend(new.clone());
                Some(Value::Object(old))
            }
            (old, new) => new.clone().or(old),
        };
        self
    }

    /// `body` with these parameters.
    #[must_use]
    pub fn patched(&self, mut body: Value) -> Value {
        if let Some(patch) = &self.parameters {
            merge(&mut body, patch);
        }
        body
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.partial_images.is_some_and(|count| count > 3) {
            return Err("partialImages is a number from 0 to 3");
        }
        if self.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            return Err("temperature is a number from 0 to 2");
        }
        if self.max_tokens_name.as_ref().is_some_and(String::is_empty) {
            return Err("maxTokensName is the name of a parameter");
        }
        if self.parameters.as_ref().is_some_and(|parameters| !parameters.is_object()) {
            return Err("parameters is an object");
        }
        Ok(())
    }
}

/// A JSON merge patch (RFC 7396).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|object| object.remove(name));
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// What is set for models, by `provider/model`; a name may have `*` for anything.
#[derive(Clone, Default, PartialEq)]
pub struct Models(BTreeMap<String, ModelSettings>);

impl Models {
    /// Reads `{"provider/model": {…}}`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(json: &str) -> Result<Self, String> {
        let models: BTreeMap<String, ModelSettings> =
            serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())?;
        for (name, settings) in &models {
            if name.split_once('/').is_none_or(|(provider, model)| provider.is_empty() || model.is_empty()) {
                return Err(format!("{name:?} is not provider/model"));
            }
            settings.check().map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        Ok(Self(models))
    }

    /// The names of what is set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The providers that are named.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.split('/').next())
    }

    /// What holds for a model of a provider at this address: what is known, and over it what is set.
    #[must_use]
    pub fn of(&self, provider: &str, base_url: &str, model: &str) -> ModelSettings {
        let host = Url::parse(base_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let known = Self::read(KNOWN).unwrap_or_default();
        let settings = known.fold(ModelSettings::default(), &format!("{host}/{model}"));
        self.fold(settings, &format!("{provider}/{model}"))
    }

    fn fold(&self, settings: ModelSettings, name: &str) -> ModelSettings {
        let mut fitting: Vec<_> = self.0.iter().filter(|(pattern, _)| fits(pattern, name)).collect();
        fitting.sort_by_key(|(pattern, _)| pattern.len());
        fitting.into_iter().fold(settings, |settings, (_, more)| settings.and(more))
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_of_models_can_be_read() {
        let known = Models::read(KNOWN).unwrap();
        assert!(known.0.len() > 5);
        let of = |url: &str, model: &str| Models::default().of("openai", url, model);
        assert_eq!(of("https://api.openai.com/v1", "gpt-5.6-sol").max_tokens_name.as_deref(), Some("max_completion_tokens"));
        assert_eq!(of("http://localhost:11434/v1", "gpt-oss").max_tokens_name, None);
        assert_eq!(of("https://api.laozhang.ai/v1", "gemini-3.1-flash-image").images, Some(Drawing::Chat));
        assert_eq!(of("https://api.openai.com/v1", "gpt-image-2").partial_images, Some(2));
    }

    #[test]
    fn the_longer_name_counts_and_what_is_set_counts_over_what_is_known() {
        let models = Models::read(
            r#"{"openai/gpt-5*": {"thinking": "high", "temperature": 1}, "openai/*": {"temperature": 0.5, "parameters": {"a": 1, "b": 2}},
                "openai/gpt-5-mini": {"maxTokensName": "limit", "parameters": {"b": null}}}"#,
        )
        .unwrap();
        let settings = models.of("openai", "https://api.openai.com/v1", "gpt-5-mini");
        assert_eq!(settings.thinking, Some(Thinking::Level("high".into())));
        assert_eq!((settings.temperature, settings.max_tokens_name.as_deref()), (Some(1.0), Some("limit")));
        assert_eq!(settings.patched(json!({"b": 3, "c": 4})), json!({"a": 1, "c": 4}));
        assert_eq!(models.of("gemini", "https://x.test", "gpt-5-mini").temperature, None);
    }

    #[test]
    fn what_is_wrong_with_them_is_told() {
        for (json, said) in [
            ("[]", "invalid type"),
            (r#"{"openai": {}}"#, "\"openai\" is not provider/model"),
            (r#"{"openai/x": {"maxTokenName": "y"}}"#, "unknown field `maxTokenName`"),
            (r#"{"openai/x": {"partialImages": 4}}"#, "openai/x: partialImages is a number from 0 to 3"),
            (r#"{"openai/x": {"temperature": -1}}"#, "openai/x: temperature is a number from 0 to 2"),
            (r#"{"openai/x": {"images": "poem"}}"#, "openai/x.images: unknown variant `poem`"),
            (r#"{"openai/x": {"parameters": 1}}"#, "openai/x: parameters is an object"),
        ] {
            let wrong = Models::read(json).unwrap_err();
            assert!(wrong.contains(said), "{json}: {wrong}");
        }
    }

    #[test]
    fn a_merge_patch_does_as_its_standard_says() {
        // The examples of RFC 7396, appendix A, that a body can have.
        for (original, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut target = original.clone();
            merge(&mut target, &patch);
            assert_eq!(target, result, "{original} with {patch}");
        }
    }
}
