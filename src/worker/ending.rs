//! How jobs end: the one terminal event of each, with the state and the message of history that belong to it.

use crate::{
    event::{Event, Fact, FinishReason, Generated, Reply},
    failure::{Failure, FailureCode},
    id::{JobId, OutboxId, UserId, WorkerId},
    job::{Answer, Fence, State, Work},
    log::{EventLog, Running},
    outbox::Outbox,
    store::{Author, Conclusion, Ending, Message, Outgoing, Store, StoreError, Then},
    timestamp::Timestamp,
};

/// A reply as it is when its job ends.
#[derive(Debug, Clone)]
pub struct Said {
    pub content: String,
    pub provider: String,
    pub finish_reason: FinishReason,
    /// Why it is not all.
    pub failure: Option<Failure>,
}

/// The end of a job that made something.
#[must_use]
pub fn of_generation(job: JobId, owner: &UserId, result: Generated) -> Ending {
    let fact = Fact::GenerationComplete { job_id: job, progress: 100, result: result.clone() };
    let outgoing = of_job(job, Event::now(crate::channel::Channel::of_user(owner), fact));
    Ending { state: State::Completed, result: Some(result), error: None, message: None, outgoing: Some(outgoing) }
}

/// The end of a job that is done and that nobody is told of.
#[must_use]
pub fn in_silence() -> Ending {
    Ending { state: State::Completed, result: None, error: None, message: None, outgoing: None }
}

/// The end of a job without a result: a reply keeps what there is of it.
#[must_use]
pub fn of_failure(job: JobId, owner: &UserId, work: Option<&Work>, failure: Failure, partial: Option<Running>) -> Ending {
    let state = if failure.code == FailureCode::Cancelled { State::Cancelled } else { State::Discarded };
    if let Some(Work::AiChatResponse { .. }) = work {
        let finish_reason = if state == State::Cancelled { FinishReason::Cancelled } else { FinishReason::Error };
        let (content, provider) = partial.map_or_else(Default::default, |partial| (partial.text, partial.provider.unwrap_or_default()));
        let said = Said { content, provider, finish_reason, failure: Some(failure.clone()) };
        return of_reply(job, work, said, state).unwrap_or_else(|| of_plain_failure(job, owner, failure, state));
    }
    of_plain_failure(job, owner, failure, state)
}

fn of_plain_failure(job: JobId, owner: &UserId, failure: Failure, state: State) -> Ending {
    let error = Some(failure.error.clone());
    let fact = Fact::GenerationFailed { job_id: job, failure };
    let outgoing = of_job(job, Event::now(crate::channel::Channel::of_user(owner), fact));
    Ending { state, result: None, error, message: None, outgoing: Some(outgoing) }
}

/// The end of a reply; nothing where `work` is none.
#[must_use]
pub fn of_reply(job: JobId, work: Option<&Work>, said: Said, state: State) -> Option<Ending> {
    let Some(Work::AiChatResponse(answer)) = work else { return None };
    let Answer { channel, reply_to, stream_id, message_id, persona, .. } = &**answer;
    let timestamp = Timestamp::now();
    let author = Author::Assistant {
        provider: said.provider.clone(),
        stream_id: *stream_id,
        reply_to: Some(*reply_to),
        finish_reason: said.finish_reason,
        persona: persona.clone(),
    };
    let message = Message { id: *message_id, channel: channel.clone(), content: said.content.clone(), author, timestamp };
    let result = Reply {
        id: *message_id,
        content: said.content,
        provider: said.provider,
        timestamp,
        stream_id: *stream_id,
        reply_to: Some(*reply_to),
        finish_reason: said.finish_reason,
        persona_id: persona.as_ref().map(|persona| persona.id.clone()),
        persona_name: persona.as_ref().map(|persona| persona.name.clone()),
    };
    let error = said.failure.as_ref().map(|failure| failure.error.clone());
    // That it was stopped is no error; the reason to finish tells it.
    let fact = Fact::AiChat { job_id: job, result, failure: said.failure.filter(|_| state == State::Discarded) };
    // The event waits in the outbox under its message's id, as a person's does: whoever reads history sees whether it is told.
    let outgoing = Outgoing { id: OutboxId::from_bytes(*message_id.as_bytes()), event: Event { timestamp, channel: channel.clone(), fact } };
    let message = Some(message).filter(|message| !message.content.is_empty());
    Some(Ending { state, result: None, error, message, outgoing: Some(outgoing) })
}

/// A job has one terminal event, so the job's id is the event's in the outbox.
fn of_job(job: JobId, event: Event) -> Outgoing {
    Outgoing { id: OutboxId::from_bytes(*job.as_bytes()), event }
}

/// Writes the end of a job and tells it. Says whether the fence still held.
///
/// # Errors
/// Where the store can't be written.
pub async fn end(store: &dyn Store, outbox: &Outbox, worker: WorkerId, fence: Fence, ending: Ending) -> Result<bool, StoreError> {
    let outgoing = ending.outgoing.clone();
    let held = conclude(store, worker, fence, Then::End(Box::new(ending))).await?;
    if let Some(outgoing) = outgoing.filter(|_| held) {
        outbox.publish(&outgoing).await;
    }
    Ok(held)
}

/// Concludes one job. Says whether the fence still held.
///
/// # Errors
/// Where the store can't be written.
pub async fn conclude(store: &dyn Store, worker: WorkerId, fence: Fence, then: Then) -> Result<bool, StoreError> {
    let held = store.conclude(worker, vec![Conclusion::new(fence, then)]).await?;
    Ok(held.first().copied().unwrap_or(false))
}

/// What has been told of a job's reply so far, where the log can say so.
pub async fn told_so_far(log: &dyn EventLog, job: JobId, work: Option<&Work>) -> Option<Running> {
    let Some(Work::AiChatResponse(answer)) = work else { return None };
    let snapshot = log.snapshot(&answer.channel).await.ok()?;
    snapshot.streaming.into_iter().find(|running| running.job_id == job)
}
