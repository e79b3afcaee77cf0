//! Why a job has no result, as its user is told: a stable code, a sentence for people, and whether asking again makes sense.
//!
//! Refuses to hold what only an operator may see: the details of a fault are logged where it is handled.

use serde::{Deserialize, Serialize};

/// What went wrong, for programs. New ones may come; none changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Its user stopped it.
    Cancelled,
    /// The provider can't be reached, is silent, or broke off.
    ProviderUnreachable,
    /// The provider has too much to do, or is asked too often.
    ProviderOverloaded,
    /// The provider's account, key or model is the trouble: its operator has to see to it.
    ProviderUnavailable,
    /// The provider can't process this request.
    RequestRejected,
    /// The provider won't say or draw this.
    ContentBlocked,
    /// The limit of tokens was reached before anything was said.
    NothingSaid,
    /// A picture may have been drawn and paid for, and did not arrive.
    PictureLost,
    /// Its user has used up what a day allows.
    DailyLimit,
    /// The worker that did this has died too often.
    WorkerLost,
    /// It took longer than a job may take, again and again.
    TookTooLong,
    /// The operator of the server has given it up.
    GivenUp,
    /// The arguments can't be read any more.
    RequestUnreadable,
    /// The database can't be used.
    DatabaseUnavailable,
    /// The event log can't be reached.
    LogUnavailable,
    /// What was made can't be stored.
    MediaUnavailable,
}

impl FailureCode {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        !matches!(
            self,
            Self::Cancelled | Self::ProviderUnavailable | Self::RequestRejected | Self::ContentBlocked | Self::NothingSaid | Self::RequestUnreadable
        )
    }

    /// All of them.
    const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::ProviderUnreachable,
        Self::ProviderOverloaded,
        Self::ProviderUnavailable,
        Self::RequestRejected,
        Self::ContentBlocked,
        Self::NothingSaid,
        Self::PictureLost,
        Self::DailyLimit,
        Self::WorkerLost,
        Self::TookTooLong,
        Self::GivenUp,
        Self::RequestUnreadable,
        Self::DatabaseUnavailable,
        Self::LogUnavailable,
        Self::MediaUnavailable,
    ];

    /// The code of a failure whose [`Failure::error`] was kept; nothing where no failure of this version says so.
    #[must_use]
    pub fn of_error(error: &str) -> Option<Self> {
        let says = |code: &Self| error.strip_prefix(code.sentence()).is_some_and(|rest| rest.is_empty() || rest.starts_with(SAID));
        Self::ALL.into_iter().find(says)
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::ProviderUnreachable => "The AI provider can't be reached at the moment.",
            Self::ProviderOverloaded => "The AI provider has too much to do at the moment.",
            Self::ProviderUnavailable => "The AI provider is not available; the operator of this server has to see to it.",
            Self::RequestRejected => "The AI provider can't process this request.",
            Self::ContentBlocked => "The AI provider has declined this request.",
            Self::NothingSaid => "The AI has used up its limit of tokens before it said anything.",
            Self::PictureLost => "The picture may have been drawn and paid for, but it did not arrive.",
            Self::DailyLimit => "You have used up what this day allows; it begins anew at midnight UTC.",
            Self::WorkerLost => "The worker that did this has stopped.",
            Self::TookTooLong => "This took too long.",
            Self::GivenUp => "The operator of this server has taken this request out of the queue.",
            Self::RequestUnreadable => "This request can't be understood any more.",
            Self::DatabaseUnavailable => "The server had a problem with its database.",
            Self::LogUnavailable => "The server had a problem with its event log.",
            Self::MediaUnavailable => "The picture could not be stored.",
        }
    }
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A sentence for people; `cancelled` where its user stopped it.
    pub error: String,
    pub code: FailureCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl From<FailureCode> for Failure {
    fn from(code: FailureCode) -> Self {
        Self { error: code.sentence().to_owned(), code, retryable: code.is_retryable() }
    }
}

/// What stands between the sentence and a provider's own words.
const SAID: &str = " It said: “";

/// The most characters of a provider's own words that are passed on.
const MAX_WORDS: usize = 500;

impl Failure {
    /// The same, with what the provider had to say about it.
    #[must_use]
    pub fn with_words(mut self, words: &str) -> Self {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if !words.is_empty() {
            let cut = words.char_indices().nth(MAX_WORDS).map_or(words.as_str(), |(end, _)| &words[..end]);
            let ellipsis = if cut.len() < words.len() { "…" } else { "" };
            self.error = format!("{}{SAID}{cut}{ellipsis}”", self.error);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_again_by_what_was_told() {
        // serde names every code there is.
        let known = serde_json::from_str::<FailureCode>("\"none\"").unwrap_err().to_string();
        assert_eq!(known.matches(", `").count() + 1, FailureCode::ALL.len(), "{known}");
        for code in FailureCode::ALL {
            let failure = Failure::from(code);
            assert_eq!(FailureCode::of_error(&failure.error), Some(code));
            assert_eq!(FailureCode::of_error(&failure.with_words("No. cancelled").error), Some(code));
        }
        assert_eq!(["", "cancelled?", "It broke."].map(FailureCode::of_error), [None; 3]);
    }

    #[test]
    fn what_the_provider_said_is_passed_on_within_bounds() {
        let said = |words: &str| Failure::from(FailureCode::ContentBlocked).with_words(words).error;
        assert_eq!(said("I can't\n draw that."), "The AI provider has declined this request. It said: “I can't draw that.”");
        assert_eq!(said(" \n"), "The AI provider has declined this request.");
        assert!(said(&"ü".repeat(600)).ends_with("ü…”"));
        assert_eq!(said(&"ü".repeat(600)).matches('ü').count(), MAX_WORDS);
    }
}
