//! What is wrong with the settings, gathered, so that all of it is told at once.

use std::{str::FromStr, time::Duration};

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Gathers what is wrong; a setting that can't be read gives a value that nobody will see.
#[derive(Default)]
pub(super) struct Wrong(Vec<String>);

impl Wrong {
    /// A setting is wrong.
    pub(super) fn add(&mut self, name: &str, text: &str, right: &str) {
        self.say(format!("{name}: {text:?} is wrong, expected {right}"));
    }

    /// Something else is wrong: a secret, which must not be shown, or how settings stand to each other.
    pub(super) fn say(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, text: &str, name: &str, least: usize, most: usize) -> usize {
        match usize::from_str(text.trim()) {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.add(name, text, &format!("a number from {least} to {most}"));
                least
            }
        }
    }

    /// A number that is large enough.
    pub(super) fn count(&mut self, text: &str, name: &str, least: usize) -> usize {
        self.number(text, name, least, 1_000_000_000)
    }

    /// A time in milliseconds, at least `least`.
    pub(super) fn millis(&mut self, text: &str, name: &str, least: usize) -> Duration {
        Duration::from_millis(self.count(text, name, least) as u64)
    }

    /// A time in seconds, at least `least`.
    pub(super) fn seconds(&mut self, text: &str, name: &str, least: usize) -> Duration {
        Duration::from_secs(self.count(text, name, least) as u64)
    }

    /// A time in hours, at least one.
    pub(super) fn hours(&mut self, text: &str, name: &str) -> Duration {
        Duration::from_secs((self.count(text, name, 1) as u64).saturating_mul(3600))
    }

    /// `value`, if nothing was wrong.
    pub(super) fn unless<T>(self, value: T) -> Result<T, ConfigError> {
        if self.0.is_empty() { Ok(value) } else { Err(ConfigError(self.0)) }
    }
}
