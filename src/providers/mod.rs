//! Those who do the generating, behind one trait.
//!
//! A provider answers with a stream: what it has, as it has it. Dropping the stream stops the work. Refuses to know about
//! jobs, channels and events: a provider is asked and answers.

pub mod check;
pub mod error;
pub mod gemini;
mod key;
pub mod models;
pub mod offline;
pub mod openai_compatible;
mod picture;
pub mod router;
pub mod setup;
pub mod wire;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    future::{self, LocalBoxFuture},
    stream::LocalBoxStream,
};

use self::router::turns::Places;
pub use self::{
    error::{Fault, ProviderError},
    key::Key,
};
use crate::{
    event::{FinishReason, Usage},
    job::ImageSize,
    media::ImageType,
    model::Target,
};

/// Who said something in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Nobody: how the AI is to behave.
    System,
    /// A person, by name.
    User(String),
    /// The AI.
    Assistant,
}

/// What a text is for: each may be served by another provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A reply in a room.
    Chat,
    /// A text of its own.
    Text,
}

/// Asks for a text.
#[derive(Debug, Clone)]
pub struct TextRequest {
    pub purpose: Purpose,
    /// The conversation, oldest first; the last turn is the one to answer.
    pub turns: Vec<(Role, String)>,
    /// Who is to serve it, in order; empty: whoever serves its purpose.
    pub route: Vec<Target>,
    pub model: Option<String>,
    pub max_tokens: Option<u32>,
}

/// Asks for a picture.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    pub prompt: String,
    pub size: ImageSize,
    /// Who is to draw it, in order; empty: whoever draws.
    pub route: Vec<Target>,
    pub model: Option<String>,
}

/// A piece of a text that is being made.
#[derive(Debug, Clone, PartialEq)]
pub enum TextStep {
    /// This provider begins with this model, or begins anew in another's place: what came before is void. Always first.
    Begin { provider: &'static str, model: String },
    /// More text, and where it is known how much is done, in percent.
    Delta { text: String, progress: Option<u8> },
    /// The text is complete.
    Done { model: String, finish_reason: FinishReason, usage: Option<Usage> },
}

/// A picture, as bytes that are known to be one.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub kind: ImageType,
    pub size: ImageSize,
    pub bytes: Bytes,
}

/// A step of a picture that is being made.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageStep {
    /// This provider begins with this model, or begins anew in another's place. Always first.
    Begin { provider: &'static str, model: String },
    /// The provider is asked now: from here on the picture may be paid for.
    Asked,
    /// How much is done, in percent, and what is being done.
    Progress { percent: u8, message: String },
    /// What it looks like so far.
    Preview { percent: u8, message: String, picture: Picture },
    /// The picture.
    Done { model: String, picture: Picture },
}

/// What a provider gives, step by step; the last step is `Done`, or an error.
pub type Steps<T> = LocalBoxStream<'static, Result<T, ProviderError>>;

/// Whether a provider has a model, or why that can't be said.
pub type Offered<'a> = LocalBoxFuture<'a, Result<(), ProviderError>>;

/// Makes texts and pictures.
pub trait Provider: Send + Sync {
    /// Its name, as events tell it.
    fn name(&self) -> &'static str;

    /// Makes a text.
    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep>;

    /// Makes a picture.
    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep>;

    /// The same provider for one job, which takes its place at each that it asks; nothing, where nobody is counted.
    fn for_job(&self, _places: Arc<dyn Places>) -> Option<Arc<dyn Provider>> {
        None
    }

    /// Whether it has a model, asked in a way that costs nothing.
    fn offers<'a>(&'a self, _model: &'a str) -> Offered<'a> {
        Box::pin(future::ready(Ok(())))
    }
}
