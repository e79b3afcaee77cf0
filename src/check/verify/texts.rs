//! The jobs of one channel as one view is told of them: texts in pieces, and one end.

use std::collections::{HashMap, HashSet};

use crate::{
    check::trace::Streaming,
    event::{Chunk, Fact, FinishReason, Generated},
    id::{JobId, StreamId},
};

/// What is wrong with an event of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    SecondEnd(JobId),
    AfterTheEnd(JobId),
    BrokenText(JobId, u32),
    OtherText(JobId),
}

/// The jobs told since the view began, or since its last reset.
#[derive(Debug, Default)]
pub struct Texts {
    ended: HashSet<JobId>,
    running: HashMap<JobId, Text>,
    /// A text that is not known may have begun where this view could not hear it.
    may_begin_midway: bool,
}

#[derive(Debug)]
struct Text {
    stream: StreamId,
    seq: u32,
    /// All of it so far, where all of it was told.
    so_far: Option<String>,
}

impl Texts {
    /// From here on texts may be met midway.
    #[must_use]
    pub fn midway() -> Self {
        Self { may_begin_midway: true, ..Self::default() }
    }

    /// Texts as they are shown by a page: every other one must be told from its beginning.
    #[must_use]
    pub fn of_page(streaming: &[Streaming]) -> Self {
        let text = |shown: &Streaming| Text { stream: shown.stream_id, seq: shown.seq, so_far: Some(shown.text.clone()) };
        Self { running: streaming.iter().map(|shown| (shown.job_id, text(shown))).collect(), ..Self::default() }
    }

    /// Takes an event.
    pub fn heed(&mut self, fact: &Fact) -> Result<(), Breach> {
        match fact {
            Fact::AiChatChunk { job_id, result } => self.heed_chunk(*job_id, result),
            Fact::GenerationStarted { job_id, .. } | Fact::GenerationProgress { job_id, .. } => self.before_the_end(*job_id),
            Fact::AiChat { job_id, result, .. } => {
                let is_whole = matches!(result.finish_reason, FinishReason::Stop | FinishReason::Length);
                self.end(*job_id, is_whole.then_some(result.content.as_str()))
            }
            Fact::GenerationComplete { job_id, result: Generated::Text { text, .. }, .. } => self.end(*job_id, Some(text)),
            Fact::GenerationComplete { job_id, .. } | Fact::GenerationFailed { job_id, .. } => self.end(*job_id, None),
            Fact::Chat { .. } | Fact::Presence(_) | Fact::Typing { .. } => Ok(()),
        }
    }

    fn before_the_end(&self, job: JobId) -> Result<(), Breach> {
        if self.ended.contains(&job) { Err(Breach::AfterTheEnd(job)) } else { Ok(()) }
    }

    fn heed_chunk(&mut self, job: JobId, chunk: &Chunk) -> Result<(), Breach> {
        self.before_the_end(job)?;
        let known = self.running.get(&job);
        let follows = match known {
            Some(text) if chunk.seq == 0 => chunk.restart && text.stream == chunk.stream_id,
            Some(text) => chunk.seq == text.seq + 1 && text.stream == chunk.stream_id,
            None => chunk.seq == 0 || self.may_begin_midway,
        };
        let before = match known {
            _ if chunk.seq == 0 => Some(""),
            Some(text) => text.so_far.as_deref().filter(|_| follows),
            None => None,
        };
        // After a breach it goes on from here, so that one breach is told once.
        let so_far = before.map(|before| format!("{before}{}", chunk.text));
        self.running.insert(job, Text { stream: chunk.stream_id, seq: chunk.seq, so_far });
        if follows { Ok(()) } else { Err(Breach::BrokenText(job, chunk.seq)) }
    }

    fn end(&mut self, job: JobId, content: Option<&str>) -> Result<(), Breach> {
        if !self.ended.insert(job) {
            return Err(Breach::SecondEnd(job));
        }
        let told = self.running.remove(&job).and_then(|text| text.so_far);
        match (told, content) {
            (Some(told), Some(content)) if told != content => Err(Breach::OtherText(job)),
            _ => Ok(()),
        }
    }
}
