//! Publishes what a running job has to say, under its fence.
//!
//! Pieces of text are gathered for at most `GATHER` before they become one event: the first goes at once, so that the
//! reader sees the reply begin, and from then on many small pieces travel as one. Where the log has lost what it had, the text
//! begins anew in it with all that there is so far. Refuses to publish for a job whose lease is lost: the log says so, and the
//! job stops.

use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};

use super::{Tools, jobs::Run, lease::Lease, meter::Meter};
use crate::{
    channel::Channel,
    event::{Chunk, Event, Fact, FinishReason, Usage},
    id::{MessageId, StreamId},
    job::Fence,
    log::{Epoch, LogError, Publication, Voice},
    persona::Speaker,
    providers::{Fault, ProviderError, TextStep},
    store::StoreError,
    usage::Reached,
};

/// The longest that a piece of text waits for company.
const GATHER: Duration = Duration::from_millis(40);
/// How often the progress of a job is written to the store, at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Why a job can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("storing the picture failed: {0}")]
    Media(#[from] std::io::Error),
    /// It may have been paid for: asking again could pay twice.
    #[error("a picture that may have been paid for is lost: {0}")]
    PictureLost(String),
    /// Its owner has used up what a day allows.
    #[error("its owner may not use more today: {0}")]
    DailyLimit(Reached),
}

/// One job's voice.
pub struct Publisher<'a> {
    tools: &'a Tools,
    fence: Fence,
    voice: Voice,
    lease: &'a Lease,
    channel: Channel,
    progress_written: Option<Instant>,
}

/// A text that is being streamed.
#[derive(Debug, Clone, Default)]
pub struct Streamed {
    /// All of it so far.
    pub text: String,
    /// Whose it is, once that is known.
    pub provider: Option<&'static str>,
    /// What the provider said at its end, once it did.
    pub done: Option<Done>,
    /// What was used for it, and for what came before it.
    pub meter: Meter,
}

/// What a provider says at the end of a text.
#[derive(Debug, Clone)]
pub struct Done {
    pub model: String,
    pub finish_reason: FinishReason,
    pub usage: Option<Usage>,
}

/// What all chunks of a stream have in common.
#[derive(Debug, Clone)]
pub struct Strand {
    pub stream_id: StreamId,
    pub provider: &'static str,
    pub reply_to: Option<MessageId>,
    pub persona: Option<Speaker>,
    /// Something was told under this stream before, and is void.
    pub restart: bool,
}

/// How far a text is told.
#[derive(Debug, Default)]
struct Told {
    /// The number of the next piece.
    seq: u32,
    /// The life of the log that has the pieces so far.
    epoch: Option<Epoch>,
}

impl<'a> Publisher<'a> {
    /// The voice of a job, on `channel`.
    #[must_use]
    pub fn new(run: &Run<'a>, channel: Channel) -> Self {
        Self { tools: run.tools, fence: run.fence, voice: Voice::new(), lease: run.lease, channel, progress_written: None }
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// Where the log can't be reached, or the job has lost its lease.
    pub async fn tell(&self, fact: Fact) -> Result<(), Broken> {
        self.publish(fact).await.map(drop)
    }

    /// Publishes one event, and gives the log's epoch where the log says it.
    async fn publish(&self, fact: Fact) -> Result<Option<Epoch>, Broken> {
        if !self.lease.holds() {
            return Err(LogError::Fenced(self.fence).into());
        }
        let event = Event::now(self.channel.clone(), fact);
        let position = self.tools.log.publish(Publication::fenced(&event, self.fence, self.voice)).await?;
        Ok(position.map(|position| position.epoch))
    }

    /// Keeps the job's progress for those who ask, not more often than it is worth.
    ///
    /// # Errors
    /// Where the store can't be written, or the job has lost its lease.
    pub async fn note_progress(&mut self, percent: u8, message: &str) -> Result<(), Broken> {
        if self.progress_written.is_some_and(|written| written.elapsed() < PROGRESS_EVERY) {
            return Ok(());
        }
        self.note_stage(percent, message).await
    }

    /// Keeps the job's progress at once: who takes the job up after this attempt finds it.
    ///
    /// # Errors
    /// As [`Self::note_progress`].
    pub async fn note_stage(&mut self, percent: u8, message: &str) -> Result<(), Broken> {
        self.progress_written = Some(Instant::now());
        if self.tools.store.progress(self.lease.worker, self.fence, percent, message).await? {
            Ok(())
        } else {
            Err(LogError::Fenced(self.fence).into())
        }
    }

    /// Publishes a text as chunks while it comes, and calls `on_progress` where the provider knows how far it is. What has
    /// come stands in `streamed` at every moment, also where this is dropped or fails.
    ///
    /// # Errors
    /// Where the provider, the log or the store fails.
    pub async fn stream_text(
        &mut self,
        strand: &mut Strand,
        mut steps: impl Stream<Item = Result<TextStep, ProviderError>> + Unpin,
        streamed: &mut Streamed,
        tell_progress: bool,
    ) -> Result<(), Broken> {
        let mut gathered = String::new();
        let (mut told, mut told_percent) = (Told::default(), 0);
        let mut due: Option<tokio::time::Instant> = None;
        loop {
            let step = tokio::select! {
                biased;
                () = wait_until(due) => None,
                step = steps.next() => Some(step),
            };
            match step {
                Some(Some(Ok(TextStep::Begin { provider, model }))) => {
                    streamed.meter.asks(provider, model, &streamed.text);
                    strand.provider = provider;
                    streamed.provider = Some(provider);
                    gathered.clear();
                    streamed.text.clear();
                    // What was told of another provider's text is void.
                    strand.restart |= told.seq > 0;
                    (told, told_percent) = (Told::default(), 0);
                }
                Some(Some(Ok(TextStep::Delta { text, progress }))) => {
                    streamed.text.push_str(&text);
                    gathered.push_str(&text);
                    if told.seq == 0 {
                        self.flush(strand, streamed, &mut gathered, &mut told).await?;
                    } else {
                        due = due.or_else(|| Some(tokio::time::Instant::now() + GATHER));
                    }
                    if let Some(percent) = progress.filter(|percent| percent / 10 > told_percent / 10) {
                        told_percent = percent;
                        self.note_text_progress(percent, tell_progress).await?;
                    }
                }
                Some(Some(Ok(TextStep::Done { model, finish_reason, usage }))) => {
                    streamed.meter.says(usage, &streamed.text);
                    streamed.done = Some(Done { model, finish_reason, usage });
                    self.flush(strand, streamed, &mut gathered, &mut told).await?;
                    return self.chunk(strand, String::new(), told.seq, true).await.map(drop);
                }
                Some(Some(Err(error))) => {
                    self.flush(strand, streamed, &mut gathered, &mut told).await?;
                    return Err(error.into());
                }
                Some(None) => {
                    self.flush(strand, streamed, &mut gathered, &mut told).await?;
                    return Err(ProviderError::new(strand.provider, Fault::BrokeOff, "the text broke off").into());
                }
                None => {
                    due = None;
                    self.flush(strand, streamed, &mut gathered, &mut told).await?;
                }
            }
        }
    }

    async fn note_text_progress(&mut self, percent: u8, tell: bool) -> Result<(), Broken> {
        let message = format!("Writing, {percent} % of the text is done");
        self.note_progress(percent, &message).await?;
        if tell && percent < 100 {
            self.tell(Fact::GenerationProgress { job_id: self.fence.job, progress: percent, message, result: None }).await?;
        }
        Ok(())
    }

    async fn flush(&self, strand: &mut Strand, streamed: &Streamed, gathered: &mut String, told: &mut Told) -> Result<(), Broken> {
        if gathered.is_empty() {
            return Ok(());
        }
        let epoch = self.chunk(strand, std::mem::take(gathered), told.seq, false).await?;
        told.seq += 1;
        let before = told.epoch;
        told.epoch = epoch.or(before);
        if before.is_some() && before != told.epoch {
            // Whoever comes from now on would find the text from its middle on.
            strand.restart = true;
            self.chunk(strand, streamed.text.clone(), 0, false).await?;
            told.seq = 1;
        }
        Ok(())
    }

    async fn chunk(&self, strand: &Strand, text: String, seq: u32, done: bool) -> Result<Option<Epoch>, Broken> {
        let result = Chunk {
            stream_id: strand.stream_id,
            text,
            done,
            provider: Some(strand.provider.into()),
            seq,
            restart: seq == 0 && strand.restart,
            persona_id: strand.persona.as_ref().map(|persona| persona.id.clone()),
            persona_name: strand.persona.as_ref().filter(|_| seq == 0).map(|persona| persona.name.clone()),
            reply_to: strand.reply_to,
        };
        self.publish(Fact::AiChatChunk { job_id: self.fence.job, result }).await
    }
}

async fn wait_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
