//! `generate_text`: a text from a prompt, streamed to its user.

use super::{Run, allowance};
use crate::{
    channel::Channel,
    event::{Fact, Generated},
    id::StreamId,
    model::Target,
    providers::{Fault, ProviderError, Purpose, Role, TextRequest},
    store::Ending,
    usage::Need,
    worker::{
        ending,
        publisher::{Broken, Publisher, Strand},
    },
};

pub(super) fn request(prompt: &str, model: Option<Target>, max_tokens: Option<u32>) -> TextRequest {
    TextRequest {
        purpose: Purpose::Text,
        turns: vec![(Role::User(String::new()), prompt.to_owned())],
        route: model.into_iter().collect(),
        model: None,
        max_tokens,
    }
}

pub(super) async fn run(run: Run<'_>, request: TextRequest, stream_id: StreamId) -> Result<Ending, Broken> {
    allowance::check(&run, Need::Text).await?;
    run.streamed.meter.shows(&request);
    let (job, provider) = (run.fence.job, run.provider());
    let mut publisher = Publisher::new(&run, Channel::of_user(run.owner));
    publisher.tell(Fact::GenerationStarted { job_id: job, message: "Writing has begun".into() }).await?;
    let mut strand = Strand { stream_id, provider: provider.name(), reply_to: None, persona: None, restart: run.fence.attempt > 1 };
    publisher.stream_text(&mut strand, provider.clone().text(request), run.streamed, true).await?;
    let Some(done) = run.streamed.done.clone() else {
        return Err(ProviderError::new(provider.name(), Fault::BrokeOff, "the text has no end").into());
    };
    let result = Generated::Text { text: run.streamed.text.clone(), provider: strand.provider.into(), model: done.model, usage: done.usage };
    Ok(ending::of_generation(job, run.owner, result))
}
