//! The replies that are still streaming on a channel, folded from its events.
//!
//! A late joiner starts from this text; the log keeps it beside the events, so that it belongs to exactly one position.
//! Refuses to outlive a reply: its terminal event removes it.

use crate::{
    event::{Event, Fact},
    id::{JobId, MessageId, StreamId},
    persona::Speaker,
};

/// A reply as far as it has been told.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    pub stream_id: StreamId,
    pub job_id: JobId,
    /// All chunks up to `seq`, joined.
    pub text: String,
    /// The newest chunk.
    pub seq: u32,
    pub provider: Option<String>,
    pub persona: Option<Speaker>,
    pub reply_to: Option<MessageId>,
}

impl Running {
    /// A reply of which nothing has been told.
    #[must_use]
    pub fn begun(stream_id: StreamId, job_id: JobId) -> Self {
        Self { stream_id, job_id, text: String::new(), seq: 0, provider: None, persona: None, reply_to: None }
    }
}

/// Takes one event into `running`.
pub(super) fn fold(running: &mut Vec<Running>, event: &Event) {
    match &event.fact {
        Fact::AiChatChunk { job_id, result } => {
            let index = running.iter().position(|reply| reply.stream_id == result.stream_id).unwrap_or_else(|| {
                running.push(Running::begun(result.stream_id, *job_id));
                running.len() - 1
            });
            let reply = &mut running[index];
            if result.seq == 0 {
                reply.text.clear();
            }
            reply.text.push_str(&result.text);
            reply.seq = result.seq;
            reply.provider.clone_from(&result.provider);
            reply.reply_to = result.reply_to;
            if let (Some(id), Some(name)) = (&result.persona_id, &result.persona_name) {
                reply.persona = Some(Speaker { id: id.clone(), name: name.clone() });
            }
        }
        Fact::AiChat { job_id, .. } | Fact::GenerationComplete { job_id, .. } | Fact::GenerationFailed { job_id, .. } => {
            running.retain(|reply| reply.job_id != *job_id);
        }
        _ => {}
    }
}
