//! `generate_image`: a picture from a prompt; it is stored, and events carry its URL.

use futures_util::StreamExt as _;

use super::Run;
use crate::{
    channel::Channel,
    event::{Fact, Generated, GeneratedImage},
    job::ImageSize,
    providers::{Fault, ImageRequest, ImageStep, ProviderError},
    store::Ending,
    worker::{
        ending,
        publisher::{Broken, Publisher},
    },
};

pub(super) async fn run(run: Run<'_>, prompt: &str, size: ImageSize, model: Option<String>) -> Result<Ending, Broken> {
    let (job_id, provider) = (run.fence.job, &run.tools.provider);
    let mut publisher = Publisher::new(run.tools, run.fence, Channel::of_user(run.owner));
    publisher.tell(Fact::GenerationStarted { job_id, message: "Painting has begun".into() }).await?;
    let mut name = provider.name();
    let mut steps = provider.clone().image(ImageRequest { prompt: prompt.to_owned(), size, model });
    while let Some(step) = steps.next().await {
        match step? {
            ImageStep::Begin { provider } => name = provider,
            // The end is told by what it brings, not by a number.
            ImageStep::Progress { percent: 100.., .. } => {}
            ImageStep::Progress { percent, message } => {
                publisher.note_progress(percent, &message).await?;
                publisher.tell(Fact::GenerationProgress { job_id, progress: percent, message }).await?;
            }
            ImageStep::Done { model, kind, size, bytes } => {
                let url = run.tools.media.put(kind, &bytes).await?;
                let image = GeneratedImage {
                    url,
                    width: size.width,
                    height: size.height,
                    content_type: kind.content_type().into(),
                    bytes: bytes.len() as u64,
                };
                let result = Generated::Image { images: vec![image], provider: name.into(), model, prompt: prompt.to_owned() };
                return Ok(ending::of_generation(job_id, run.owner, result));
            }
        }
    }
    Err(ProviderError::new(name, Fault::BrokeOff, "the picture has no end").into())
}
