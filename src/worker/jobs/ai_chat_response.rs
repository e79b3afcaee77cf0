//! `ai_chat_response`: answers a chat message in its room, word by word.

use super::Run;
use crate::{
    channel::Channel,
    event::FinishReason,
    id::{MessageId, OutboxId, StreamId},
    job::{State, Work},
    providers::{Purpose, Role, TextRequest},
    store::{Author, Ending, StoreError},
    worker::{
        ending::{self, Said},
        publisher::{Broken, Publisher, Strand},
    },
};

/// How many messages of the room the provider is shown.
const REMEMBERED: usize = 30;

pub(super) async fn run(run: Run<'_>, work: &Work, channel: &Channel, reply_to: MessageId, stream_id: StreamId) -> Result<Ending, Broken> {
    let provider = &run.tools.provider;
    // The answer must not come before the question.
    run.tools.outbox.publish_first(OutboxId::from_bytes(*reply_to.as_bytes())).await?;
    let request = TextRequest { purpose: Purpose::Chat, turns: conversation(&run, channel, reply_to).await?, model: None, max_tokens: None };
    let mut strand = Strand { stream_id, provider: provider.name(), reply_to: Some(reply_to), restart: run.fence.attempt > 1 };
    let mut publisher = Publisher::new(run.tools, run.fence, channel.clone());
    publisher.stream_text(&mut strand, provider.clone().text(request), run.streamed, false).await?;
    let finish_reason = run.streamed.done.as_ref().map_or(FinishReason::Stop, |done| done.finish_reason);
    let said = Said { content: run.streamed.text.clone(), provider: strand.provider.into(), finish_reason, failure: None };
    ending::of_reply(run.fence.job, Some(work), said, State::Completed).ok_or_else(|| StoreError::Refused("not a reply".into()).into())
}

/// What was said in the room up to the message to answer.
async fn conversation(run: &Run<'_>, channel: &Channel, reply_to: MessageId) -> Result<Vec<(Role, String)>, Broken> {
    let page = run.tools.store.messages(channel, None, REMEMBERED).await?;
    let said = page.messages.into_iter().filter(|message| message.id <= reply_to);
    let turn = |message: crate::store::Message| match message.author {
        Author::Person { user_name, .. } => (Role::User(user_name), message.content),
        Author::Assistant { .. } => (Role::Assistant, message.content),
    };
    Ok(said.map(turn).collect())
}
