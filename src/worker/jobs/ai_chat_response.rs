//! `ai_chat_response`: answers a chat message in its room, word by word, as the persona that was called.

use super::{Run, allowance, conversation};
use crate::{
    event::FinishReason,
    id::OutboxId,
    job::{Answer, State, Work},
    persona::Persona,
    providers::{Purpose, TextRequest},
    store::{Ending, StoreError},
    usage::Need,
    worker::{
        ending::{self, Said},
        publisher::{Broken, Publisher, Strand},
    },
};

/// The most messages of the room that are looked at.
const REMEMBERED: usize = 100;
/// How many tokens of the budget a reply is left where nobody has limited it.
const REPLY_TOKENS: u32 = 1024;

pub(super) async fn run(run: Run<'_>, work: &Work, answer: &Answer) -> Result<Ending, Broken> {
    let provider = run.provider();
    // The answer must not come before the question.
    run.tools.outbox.publish_first(OutboxId::from_bytes(*answer.reply_to.as_bytes())).await?;
    if run.fence.attempt > 1 {
        // Where the log took nothing more of the attempt before, this one would be paid for in vain as well.
        run.tools.log.check_of(&answer.channel).await?;
    }
    allowance::check(&run, Need::Text).await?;
    let request = request(&run, answer).await?;
    run.streamed.meter.shows(&request);
    let mut strand = Strand {
        stream_id: answer.stream_id,
        provider: provider.name(),
        reply_to: Some(answer.reply_to),
        persona: answer.persona.clone(),
        restart: run.fence.attempt > 1,
    };
    let mut publisher = Publisher::new(&run, answer.channel.clone());
    publisher.stream_text(&mut strand, provider.clone().text(request), run.streamed, false).await?;
    let finish_reason = run.streamed.done.as_ref().map_or(FinishReason::Stop, |done| done.finish_reason);
    let said = Said { content: run.streamed.text.clone(), provider: strand.provider.into(), finish_reason, failure: None };
    ending::of_reply(run.fence.job, Some(work), said, State::Completed).ok_or_else(|| StoreError::Refused("not a reply".into()).into())
}

async fn request(run: &Run<'_>, answer: &Answer) -> Result<TextRequest, Broken> {
    let store = &run.tools.store;
    let persona: Option<Persona> = match &answer.persona {
        // It may have been deleted since it was called; then it answers without its prompt.
        Some(speaker) => store.persona(&speaker.id).await?,
        None => None,
    };
    let parameters = persona.as_ref().map(|persona| persona.parameters).unwrap_or_default();
    let max_tokens = answer.max_tokens.or(parameters.max_tokens);
    let context = parameters.context_tokens.unwrap_or(run.tools.context_tokens);
    let budget = context.saturating_sub(max_tokens.unwrap_or(REPLY_TOKENS));
    let page = store.messages(&answer.channel, Some(answer.reply_to.successor()), REMEMBERED).await?;
    let (prompt, route) = persona.map_or_else(Default::default, |persona| (persona.prompt, persona.route));
    Ok(TextRequest {
        purpose: Purpose::Chat,
        turns: conversation::of(answer.persona.as_ref().map(|persona| &persona.id), &prompt, page.messages, budget.into()),
        route: match &answer.model {
            Some(model) => vec![model.clone()],
            None => route,
        },
        model: None,
        max_tokens,
    })
}
