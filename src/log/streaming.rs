//! The replies that are still streaming on a channel, folded from its events.
//!
//! A late joiner starts from this text; the log keeps it beside the events, so that it belongs to exactly one position.
//! Refuses to outlive a reply: its terminal event removes it.

use crate::{
    event::{Event, Fact},
    id::{JobId, StreamId},
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
}

/// Takes one event into `running`.
pub(super) fn fold(running: &mut Vec<Running>, event: &Event) {
    match &event.fact {
        Fact::AiChatChunk { job_id, result } => {
            let index = running.iter().position(|reply| reply.stream_id == result.stream_id).unwrap_or_else(|| {
                running.push(Running { stream_id: result.stream_id, job_id: *job_id, text: String::new(), seq: 0, provider: None });
                running.len() - 1
            });
            let reply = &mut running[index];
            if result.seq == 0 {
                reply.text.clear();
            }
            reply.text.push_str(&result.text);
            reply.seq = result.seq;
            reply.provider.clone_from(&result.provider);
        }
        Fact::AiChat { job_id, .. } | Fact::GenerationComplete { job_id, .. } | Fact::GenerationFailed { job_id, .. } => {
            running.retain(|reply| reply.job_id != *job_id);
        }
        _ => {}
    }
}
