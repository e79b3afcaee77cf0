//! Why a provider could not do it: what that means for the next attempt, for its user, and for its operator.

use std::time::Duration;

use super::key::redacted;
use crate::failure::{Failure, FailureCode};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It can't be reached, or answers like a broken gateway.
    Unreachable,
    /// It did not answer, or fell silent, for too long.
    TimedOut,
    /// It has too much to do, or we ask too often.
    Overloaded,
    /// All that may use it at once do, as our own limit says: nothing is wrong with it.
    NoRoom,
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
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What it says itself about whether the same request may be made again.
    pub retry: Option<bool>,
    /// What the provider calls this request.
    pub request_id: Option<String>,
    /// It may have been paid for, though nothing came of it: asking again may pay twice.
    pub billed: bool,
    /// What its model had to say to the user in place of what was asked for.
    pub words: Option<Box<str>>,
}

/// The longest detail that is kept of a provider's answer.
const MAX_DETAIL: usize = 500;
/// The longest that a job waits because a provider asks for it.
const WORTH_WAITING: Duration = Duration::from_mins(2);

impl ProviderError {
    /// A fault of `provider`, with what its operator should know.
    pub fn new(provider: &'static str, fault: Fault, detail: impl Into<String>) -> Self {
        let detail = redacted(&detail.into()).chars().take(MAX_DETAIL).collect();
        Self { provider, fault, detail, retry_after: None, retry: None, request_id: None, billed: false, words: None }
    }

    /// The same, of a request that may have been paid for.
    #[must_use]
    pub fn may_be_billed(self) -> Self {
        Self { billed: true, ..self }
    }

    /// The same, of a request that is paid for when it is done: it may have been, unless the provider itself refuses it.
    #[must_use]
    pub fn unless_refused(self) -> Self {
        if matches!(self.fault, Fault::TimedOut | Fault::BrokeOff | Fault::Malformed) { self.may_be_billed() } else { self }
    }

    /// The same, of a request that the provider calls so, unless it is known already.
    #[must_use]
    pub fn of_request(self, id: Option<&str>) -> Self {
        Self { request_id: self.request_id.or_else(|| id.map(str::to_owned)), ..self }
    }

    /// Whether the same request may succeed later, and may be made again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let heals =
            matches!(self.fault, Fault::Unreachable | Fault::TimedOut | Fault::Overloaded | Fault::NoRoom | Fault::BrokeOff | Fault::Malformed);
        let soon = self.retry_after.is_none_or(|pause| pause <= WORTH_WAITING);
        !self.billed && self.retry.unwrap_or(heals) && soon
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
            Fault::Overloaded | Fault::NoRoom => FailureCode::ProviderOverloaded,
            Fault::OutOfCredit | Fault::Unauthorized | Fault::ModelMissing => FailureCode::ProviderUnavailable,
            Fault::Rejected => FailureCode::RequestRejected,
            Fault::SaidNothing => FailureCode::NothingSaid,
        };
        Failure::from(code).with_words(self.words.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_made_again_only_where_that_may_help_and_costs_nothing() {
        let error = |fault| ProviderError::new("test", fault, "detail");
        assert!(error(Fault::Overloaded).is_retryable() && !error(Fault::OutOfCredit).is_retryable());
        assert!(!error(Fault::BrokeOff).may_be_billed().is_retryable());
        let pause = |seconds| ProviderError { retry_after: Some(Duration::from_secs(seconds)), ..error(Fault::Overloaded) };
        assert!(pause(120).is_retryable() && !pause(121).is_retryable());
        let said = |retry| ProviderError { retry: Some(retry), ..error(Fault::Unreachable) };
        assert!(said(true).is_retryable() && !said(false).is_retryable());
    }
}
