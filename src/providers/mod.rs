//! Those who do the generating, behind one trait.
//!
//! A provider answers with a stream: what it has, as it has it. Dropping the stream stops the work. Refuses to know about
//! jobs, channels and events: a provider is asked and answers.

pub mod error;
mod event_stream;
pub mod gemini;
mod http;
pub mod offline;
pub mod openai_compatible;
pub mod router;

use bytes::Bytes;
use futures_util::stream::LocalBoxStream;

pub use self::error::{Fault, ProviderError};

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
    /// This provider begins, or begins anew in another's place: what came before is void.
    Begin { provider: &'static str },
    /// More text, and where it is known how much is done, in percent.
    Delta { text: String, progress: Option<u8> },
    /// The text is complete.
    Done { model: String, finish_reason: FinishReason, usage: Option<Usage> },
}

/// A step of a picture that is being made.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageStep {
    /// This provider begins, or begins anew in another's place.
    Begin { provider: &'static str },
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
