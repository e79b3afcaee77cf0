//! Why a provider could not do it: what that means for the next attempt, for its user, and for its operator.

use std::time::Duration;

use crate::failure::{Failure, FailureCode};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It can't be reached, or answers like a broken gateway.
    Unreachable,
    /// It did not answer, or fell silent, for too long.
    TimedOut,
    /// It has too much to do, or we ask too often.
    Overloaded,
    /// The account has no money or quota left.
    OutOfCredit,
    /// The key is wrong, or may not do this.
    Unauthorized,
    /// It has no such model.
    ModelMissing,
    /// It can't understand the request.
    Rejected,
    /// It won't say or draw this.
    Blocked,
    /// The limit of tokens was reached before it said anything, as where all of them went into thoughts.
    SaidNothing,
    /// It broke off in the middle.
    BrokeOff,
    /// Its answer can't be understood.
    Malformed,
}

/// Why a provider could not do it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{provider}: {detail}{}", .request_id.as_ref().map(|id| format!(" (its request {id})")).unwrap_or_default())]
pub struct ProviderError {
    pub provider: &'static str,
    pub fault: Fault,
    /// For the operator. Never has a key in it, and never reaches a user.
    pub detail: String,
    /// When it asks to be left alone until.
    pub retry_after: Option<Duration>,
    /// What the provider calls this request.
    pub request_id: Option<String>,
    /// It may have been paid for, though nothing came of it: asking again may pay twice.
    pub billed: bool,
    /// What its model had to say to the user in place of what was asked for.
    pub words: Option<String>,
}

impl ProviderError {
    /// A fault of `provider`, with what its operator should know.
    pub fn new(provider: &'static str, fault: Fault, detail: impl Into<String>) -> Self {
        Self { provider, fault, detail: redacted(&detail.into()), retry_after: None, request_id: None, billed: false, words: None }
    }

    /// The same, of a request that may have been paid for.
    #[must_use]
    pub fn may_be_billed(self) -> Self {
        Self { billed: true, ..self }
    }

    /// Whether the same request may succeed later, and may be made again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !self.billed && matches!(self.fault, Fault::Unreachable | Fault::TimedOut | Fault::Overloaded | Fault::BrokeOff | Fault::Malformed)
    }

    /// Whether another provider may succeed where this one has not.
    #[must_use]
    pub fn is_worth_another(&self) -> bool {
        !self.billed && self.fault != Fault::Blocked
    }

    /// What its user may be told.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let code = match self.fault {
            Fault::Blocked => FailureCode::ContentBlocked,
            _ if self.billed => FailureCode::PictureLost,
            Fault::Unreachable | Fault::TimedOut | Fault::BrokeOff | Fault::Malformed => FailureCode::ProviderUnreachable,
            Fault::Overloaded => FailureCode::ProviderOverloaded,
            Fault::OutOfCredit | Fault::Unauthorized | Fault::ModelMissing => FailureCode::ProviderUnavailable,
            Fault::Rejected => FailureCode::RequestRejected,
            Fault::SaidNothing => FailureCode::NothingSaid,
        };
        Failure::from(code).with_words(self.words.as_deref().unwrap_or_default())
    }
}

/// The longest detail that is kept of a provider's answer.
const MAX_DETAIL: usize = 500;

/// `text`, shortened, without anything that looks like a key.
fn redacted(text: &str) -> String {
    let words = text.split_inclusive(|char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '&' | ',' | '?'));
    let mut clean = String::new();
    for word in words {
        let secret = ["sk-", "AIza", "Bearer", "key="].iter().any(|mark| word.contains(mark));
        clean.push_str(if secret { "[redacted] " } else { word });
        if clean.len() > MAX_DETAIL {
            break;
        }
    }
    clean.chars().take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_key_is_never_kept() {
        let detail = r#"Incorrect API key provided: sk-abc123. url https://x.test/v1?key=AIzaSyTop "Authorization": "Bearer tok""#;
        let shown = ProviderError::new("test", Fault::Unauthorized, detail).to_string();
        assert!(!["abc123", "SyTop"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
