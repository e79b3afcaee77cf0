//! Models by name: a provider and one of the models it serves.
//!
//! Refuses to know how they are asked.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A provider and one of its models, written `gemini/gemini-3.5-flash`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    pub provider: String,
    pub model: String,
}

/// The text is not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a target is `provider/model`")]
pub struct InvalidTarget;

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let (provider, model) = text.trim().split_once('/').ok_or(InvalidTarget)?;
        if provider.is_empty() || model.is_empty() {
            return Err(InvalidTarget);
        }
        Ok(Self { provider: provider.to_owned(), model: model.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The models that clients may ask for.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    /// For replies and texts.
    pub text: Vec<Target>,
    /// For pictures.
    pub image: Vec<Target>,
}

/// The models that personas may speak with.
#[derive(Debug, Clone, Default)]
pub struct KnownModels {
    /// Who serves here.
    pub providers: Vec<String>,
    /// Their models, as `provider/model`; a name may have `*` for anything.
    pub models: Vec<String>,
}

/// Why a model can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModel {
    #[error("`{target}` names a provider that does not serve here; these do: {known}")]
    Provider { target: Target, known: String },
    #[error("`{target}` is not set up here; these models are: {known}. PERSONA_TEXT_MODELS and PERSONA_MODELS make others known")]
    Model { target: Target, known: String },
}

impl KnownModels {
    /// Goes on where this model can be asked.
    ///
    /// # Errors
    /// Where it is not known, with those that are.
    pub fn check(&self, target: &Target) -> Result<(), UnknownModel> {
        if !self.providers.contains(&target.provider) {
            return Err(UnknownModel::Provider { target: target.clone(), known: self.providers.join(", ") });
        }
        let name = target.to_string();
        if self.models.iter().any(|pattern| fits(pattern, &name)) {
            return Ok(());
        }
        Err(UnknownModel::Model { target: target.clone(), known: self.models.join(", ") })
    }
}

/// The one of `allowed` that is called `name`: by provider and model, or by the model alone, and then the first that has it.
#[must_use]
pub fn find<'a>(allowed: &'a [Target], name: &str) -> Option<&'a Target> {
    let whole = allowed.iter().find(|target| target.to_string() == name);
    whole.or_else(|| allowed.iter().find(|target| target.model == name))
}

/// Whether `name` is `pattern`, in which `*` stands for anything.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| fits(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_its_whole_name_or_by_the_models_alone() {
        let allowed: Vec<Target> = ["a/m", "b/m", "b/c/d", "c/d"].iter().map(|text| text.parse().unwrap()).collect();
        let found = |name: &str| find(&allowed, name).map(ToString::to_string);
        assert_eq!(["b/m", "m", "c/d", "d"].map(found).map(Option::unwrap), ["b/m", "a/m", "c/d", "c/d"].map(str::to_owned));
        assert_eq!(["x", "", "a", "a/", "M"].map(found), [const { None }; 5]);
    }

    #[test]
    fn a_target_has_a_provider_and_a_model() {
        assert!(["", "/", "a/", "/m", "a"].iter().all(|text| text.parse::<Target>().is_err()));
        assert_eq!(serde_json::to_string(&" a/b/c ".parse::<Target>().unwrap()).unwrap(), r#""a/b/c""#);
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(fits("*/gemini-*image*", "api.x.test/gemini-3.1-flash-image") && fits("a/*", "a/") && fits("a/b", "a/b"));
        assert!(!fits("*/gemini-*image*", "api.x.test/gemini-3.5-flash") && !fits("a/b", "a/bc") && !fits("a*c", "ab"));
    }
}
