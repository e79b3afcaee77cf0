//! Those who do the generating, behind one trait.
//!
//! A provider answers with a stream: what it has, as it has it. Dropping the stream stops the work. Refuses to know about
//! jobs, channels and events: a provider is asked and answers.

pub mod offline;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::LocalBoxStream;

use crate::{
    event::{FinishReason, Usage},
    job::ImageSize,
    media::ImageType,
};

/// Who said something in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A person, by name.
    User(String),
    /// The AI.
    Assistant,
}

/// Asks for a text.
#[derive(Debug, Clone)]
pub struct TextRequest {
    /// The conversation, oldest first; the last turn is the one to answer.
    pub turns: Vec<(Role, String)>,
    pub model: Option<String>,
    pub max_tokens: Option<u32>,
}

/// Asks for a picture.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    pub prompt: String,
    pub size: ImageSize,
    pub model: Option<String>,
}

/// A piece of a text that is being made.
#[derive(Debug, Clone, PartialEq)]
pub enum TextStep {
    /// More text, and where it is known how much is done, in percent.
    Delta { text: String, progress: Option<u8> },
    /// The text is complete.
    Done { model: String, finish_reason: FinishReason, usage: Option<Usage> },
}

/// A step of a picture that is being made.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageStep {
    /// How much is done, in percent, and what is being done.
    Progress { percent: u8, message: String },
    /// The picture.
    Done { model: String, kind: ImageType, size: ImageSize, bytes: Bytes },
}

/// What a provider gives, step by step; the last step is `Done`, or an error.
pub type Steps<'a, T> = LocalBoxStream<'a, Result<T, ProviderError>>;

/// Makes texts and pictures.
pub trait Provider: Send + Sync {
    /// Its name, as events tell it.
    fn name(&self) -> &'static str;

    /// Makes a text.
    fn text(&self, request: TextRequest) -> Steps<'_, TextStep>;

    /// Makes a picture.
    fn image(&self, request: ImageRequest) -> Steps<'_, ImageStep>;
}

/// Why a provider could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It could not be reached, or broke off.
    #[error("{provider} can't be reached: {detail}")]
    Unavailable { provider: &'static str, detail: String, retry_after: Option<Duration> },
    /// It won't do this, now or later.
    #[error("{provider} refuses: {detail}")]
    Refused { provider: &'static str, detail: String },
}

impl ProviderError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// What its user may be told.
    #[must_use]
    pub fn safe_sentence(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "The AI provider can't be reached at the moment.",
            Self::Refused { .. } => "The AI provider has refused this request.",
        }
    }
}
