//! A text that a provider is giving, read off its chunks: what all protocols have in common.
//!
//! [`Answer`] knows no sockets, so that every byte of a protocol can be tried without one; [`mod@stream`] feeds it. A protocol
//! says what one chunk means ([`Dialect`]). Refuses to take silence for an end: an answer that doesn't say that it is
//! complete has broken off.

use std::{marker::PhantomData, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::{Caller, Events, Reply, refusal::Told, thoughts::Thoughts};
use crate::{
    event::{FinishReason, Usage},
    providers::{Fault, ProviderError, Steps, TextStep},
};

/// How long is waited for the count of tokens once all is said.
const LINGER: Duration = Duration::from_secs(2);

/// What one chunk of a protocol means.
pub trait Dialect: 'static {
    /// Whether an answer is complete once a chunk has said why it ends; otherwise only its end completes it.
    const REASON_IS_LAST: bool;

    /// Notes in `said` what `chunk` says.
    ///
    /// # Errors
    /// Where it says that there will be no answer.
    fn chunk(chunk: &Value, said: &mut Said) -> Result<(), ProviderError>;
}

/// What was said so far.
#[derive(Debug)]
pub struct Said {
    pub provider: &'static str,
    pub model: String,
    pub finish: Option<FinishReason>,
    pub usage: Option<Usage>,
    /// Read and not given yet.
    text: String,
    thoughts: Thoughts,
    /// Something was said that is more than white space.
    anything: bool,
}

impl Said {
    fn new(provider: &'static str, model: String) -> Self {
        Self { provider, model, finish: None, usage: None, text: String::new(), thoughts: Thoughts::default(), anything: false }
    }

    /// More of the text.
    pub fn say(&mut self, text: &str) {
        let before = self.text.len();
        self.thoughts.sift(text, &mut self.text);
        self.anything |= !self.text[before..].trim().is_empty();
    }

    /// The text is refused with this.
    #[must_use]
    pub fn error(&self, fault: Fault, detail: impl Into<String>) -> ProviderError {
        ProviderError::new(self.provider, fault, detail)
    }
}

/// An answer that is being read.
pub struct Answer<D> {
    said: Said,
    over: bool,
    dialect: PhantomData<D>,
}

impl<D: Dialect> Answer<D> {
    /// An answer of `provider`, whose model is called so unless it says otherwise.
    #[must_use]
    pub fn new(provider: &'static str, model: String) -> Self {
        Self { said: Said::new(provider, model), over: false, dialect: PhantomData }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// Where it says that there will be no answer.
    pub fn take(&mut self, name: &str, data: &str) -> Result<(), ProviderError> {
        if name == "error" {
            return Err(Told::in_event(data).means(self.said.provider, 200));
        }
        // The end is said; who waits for the connection to close may wait for ever.
        if data.trim() == "[DONE]" {
            self.said.finish.get_or_insert(FinishReason::Stop);
            self.over = true;
            return Ok(());
        }
        // A line that is no JSON is passed over; where nothing follows it, the missing end tells.
        match serde_json::from_str(data) {
            Ok(chunk) => self.chunk(&chunk),
            Err(_) => Ok(()),
        }
    }

    /// Takes an answer that comes whole, be it in one chunk or in a list of them.
    ///
    /// # Errors
    /// Where it is none.
    pub fn take_whole(&mut self, body: &[u8]) -> Result<(), ProviderError> {
        let text = String::from_utf8_lossy(body);
        let whole: Value = serde_json::from_str(text.trim()).map_err(|_| self.said.error(Fault::Malformed, "its answer is no JSON"))?;
        let chunks = if let Value::Array(chunks) = &whole { chunks.as_slice() } else { std::slice::from_ref(&whole) };
        chunks.iter().try_for_each(|chunk| self.chunk(chunk))?;
        self.end("")
    }

    /// Takes the end of the stream; `stray` is what stood in it and was no event.
    ///
    /// # Errors
    /// Where the answer is not complete.
    pub fn end(&mut self, stray: &str) -> Result<(), ProviderError> {
        if !stray.is_empty() && !self.over {
            self.take("", stray)?;
        }
        if self.said.finish.is_none() {
            return Err(self.said.error(Fault::BrokeOff, "its answer has no end"));
        }
        self.over = true;
        Ok(())
    }

    /// The text that was read since the last time; nothing where there is none.
    pub fn text(&mut self) -> Option<String> {
        if self.over {
            self.said.thoughts.finish(&mut self.said.text);
            self.said.anything |= !self.said.text.trim().is_empty();
        }
        (!self.said.text.is_empty()).then(|| std::mem::take(&mut self.said.text))
    }

    /// Whether all was said, and only the count of tokens or the end itself may be missing.
    #[must_use]
    pub fn may_end(&self) -> bool {
        D::REASON_IS_LAST && self.said.finish.is_some()
    }

    /// The last step.
    ///
    /// # Errors
    /// Where the answer is complete and says nothing.
    pub fn done(&mut self) -> Result<TextStep, ProviderError> {
        let finish_reason = self.said.finish.unwrap_or(FinishReason::Stop);
        if !self.said.anything {
            return Err(match finish_reason {
                FinishReason::Length => self.said.error(Fault::SaidNothing, "its limit of tokens was reached before it said anything"),
                FinishReason::ContentFilter => self.said.error(Fault::Blocked, "all of its answer was held back"),
                _ => self.said.error(Fault::Malformed, "its answer is empty"),
            });
        }
        Ok(TextStep::Done { model: std::mem::take(&mut self.said.model), finish_reason, usage: self.said.usage })
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// Where it says that there will be no answer.
    pub fn chunk(&mut self, chunk: &Value) -> Result<(), ProviderError> {
        match Told::find(chunk) {
            Some(told) => Err(told.means(self.said.provider, 200)),
            None => D::chunk(chunk, &mut self.said),
        }
    }
}

/// The steps of the answer in `reply`, of a request that was begun at `begun`.
///
/// # Errors
/// Where the answer comes whole and is none.
pub async fn stream<D: Dialect>(caller: Caller, reply: Reply, begun: Instant, mut answer: Answer<D>) -> Result<Steps<TextStep>, ProviderError> {
    if reply.is_json() {
        // Asked for a stream, some answer whole, or with an error.
        let request_id = reply.request_id().map(str::to_owned);
        let body = caller.read(reply, begun + caller.patience.total).await?;
        answer.take_whole(&body).map_err(|error| error.of_request(request_id.as_deref()))?;
        let text = answer.text().map(|text| Ok(TextStep::Delta { text, progress: None }));
        return Ok(stream::iter(text.into_iter().chain([answer.done()])).boxed_local());
    }
    let streaming = Streaming { events: Events::new(caller, reply, begun), answer, failed: None, done: false };
    Ok(stream::try_unfold(streaming, |mut streaming| async move { Ok(streaming.step().await?.map(|step| (step, streaming))) }).boxed_local())
}

struct Streaming<D> {
    events: Events,
    answer: Answer<D>,
    /// What was read before it is given first.
    failed: Option<ProviderError>,
    done: bool,
}

impl<D: Dialect> Streaming<D> {
    async fn step(&mut self) -> Result<Option<TextStep>, ProviderError> {
        if self.done {
            return Ok(None);
        }
        loop {
            if let Some(text) = self.answer.text() {
                return Ok(Some(TextStep::Delta { text, progress: None }));
            }
            if let Some(error) = self.failed.take() {
                return Err(error.of_request(self.events.request_id()));
            }
            if self.answer.over {
                self.done = true;
                return self.answer.done().map(Some).map_err(|error| error.of_request(self.events.request_id()));
            }
            self.failed = self.read().await.err();
        }
    }

    /// Reads what has come: all events of one piece become one step.
    async fn read(&mut self) -> Result<(), ProviderError> {
        loop {
            let next = if self.answer.may_end() { self.events.next_within(LINGER).await } else { self.events.next().await };
            match next {
                Ok(Some((name, data))) => self.answer.take(&name, &data)?,
                Ok(None) => return self.answer.end(self.events.stray()),
                Err(_) if self.answer.may_end() => return self.answer.end(""),
                Err(error) => return Err(error),
            }
            if self.answer.over || !self.events.has_more() {
                return Ok(());
            }
        }
    }
}
