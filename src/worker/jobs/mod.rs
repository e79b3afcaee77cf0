//! What jobs do, one file a kind.
//!
//! A handler works until it is done or fails; that it is stopped it needn't know: its future is dropped, and with it
//! whatever it waits for. Refuses to decide what follows from a failure: that is the attempt's.

mod ai_chat_response;
mod allowance;
mod conversation;
mod generate_image;
mod generate_text;
pub mod housekeeping;

use std::sync::Arc;

use super::{
    Tools, ending,
    lease::Lease,
    place::Place,
    publisher::{Broken, Streamed},
};
use crate::{
    id::UserId,
    job::{Fence, Work},
    providers::Provider,
    store::Ending,
};

/// A job, as its handler gets it.
pub struct Run<'a> {
    pub tools: &'a Tools,
    pub fence: Fence,
    /// What it may publish and note under.
    pub lease: &'a Lease,
    pub owner: &'a UserId,
    /// What it has said so far; the attempt reads it where the job is stopped.
    pub streamed: &'a mut Streamed,
}

impl Run<'_> {
    /// Who generates: each that is asked counts this job as one of those that use it.
    fn provider(&self) -> Arc<dyn Provider> {
        let provider = &self.tools.provider;
        let place = Place::of(self.tools, self.lease.worker, self.fence);
        provider.for_job(place).unwrap_or_else(|| provider.clone())
    }
}

/// Does the work, and says how it ends.
///
/// # Errors
/// Where it can't be done now, or at all.
pub async fn run(run: Run<'_>, work: &Work) -> Result<Ending, Broken> {
    match work {
        Work::AiChatResponse(answer) => ai_chat_response::run(run, work, answer).await,
        Work::GenerateText { prompt, model, max_tokens, stream_id } => {
            let request = generate_text::request(prompt, model.clone(), *max_tokens);
            generate_text::run(run, request, *stream_id).await
        }
        Work::GenerateImage { prompt, size, model } => generate_image::run(run, prompt, *size, model.clone()).await,
        Work::Noop {} => Ok(ending::in_silence()),
        Work::Housekeeping { chore } => housekeeping::run(run, *chore).await,
    }
}
