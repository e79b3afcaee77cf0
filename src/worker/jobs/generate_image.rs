//! `generate_image`: a picture from a prompt; it is stored, and events carry its URL.
//!
//! Refuses to pay twice blindly: before a provider is asked that is noted durably, and an attempt that finds such a note of an
//! earlier one, of which nothing came, ends the job instead of asking again.

use futures_util::StreamExt as _;

use super::{Run, allowance};
use crate::{
    channel::Channel,
    event::{Fact, Generated, GeneratedImage, Preview},
    job::ImageSize,
    media::Draft,
    model::Target,
    providers::{Fault, ImageRequest, ImageStep, Picture, ProviderError},
    store::Ending,
    usage::Need,
    worker::{
        ending,
        publisher::{Broken, Publisher},
    },
};

/// Noted while a provider that may have to be paid is at it.
const DRAWING: &str = "The provider is drawing";
/// Noted once it is known to have done nothing.
const REFUSED: &str = "Waiting for another try";

pub(super) async fn run(run: Run<'_>, prompt: &str, size: ImageSize, model: Option<Target>) -> Result<Ending, Broken> {
    if run.fence.attempt > 1 && was_drawing(&run).await? {
        return Err(Broken::PictureLost("the worker that had asked for it has stopped".into()));
    }
    allowance::check(&run, Need::Image).await?;
    let mut painting = Painting::new(run);
    let (job, provider) = (painting.run.fence.job, painting.run.provider());
    painting.voice.tell(Fact::GenerationStarted { job_id: job, message: "Painting has begun".into() }).await?;
    let mut steps = provider.image(ImageRequest { prompt: prompt.to_owned(), size, route: model.into_iter().collect(), model: None });
    while let Some(step) = steps.next().await {
        match step {
            Ok(ImageStep::Done { model, picture }) => {
                painting.run.streamed.meter.draws();
                let images = vec![painting.keep(&picture).await?];
                let result = Generated::Image { images, provider: painting.provider.into(), model, prompt: prompt.to_owned() };
                return Ok(ending::of_generation(job, painting.run.owner, result));
            }
            Ok(step) => painting.tell(step).await?,
            Err(error) => {
                painting.refused(&error).await?;
                return Err(error.into());
            }
        }
    }
    Err(ProviderError::new(painting.provider, Fault::BrokeOff, "the picture has no end").into())
}

/// Whether an earlier attempt was stopped while a provider was at it.
async fn was_drawing(run: &Run<'_>) -> Result<bool, Broken> {
    let job = run.tools.store.job(run.owner, run.fence.job).await?;
    Ok(job.is_some_and(|job| job.message.as_deref() == Some(DRAWING)))
}

/// A picture on its way.
struct Painting<'a> {
    run: Run<'a>,
    voice: Publisher<'a>,
    provider: &'static str,
    /// Whether it may have been paid for.
    asked: bool,
    percent: u8,
    /// What was shown of it; each is gone when the job has ended.
    drafts: Vec<Draft>,
}

impl<'a> Painting<'a> {
    fn new(run: Run<'a>) -> Self {
        let (voice, provider) = (Publisher::new(&run, Channel::of_user(run.owner)), run.tools.provider.name());
        Self { run, voice, provider, asked: false, percent: 0, drafts: Vec::new() }
    }

    async fn tell(&mut self, step: ImageStep) -> Result<(), Broken> {
        match step {
            ImageStep::Begin { provider, model } => {
                // Another one is asked only where nothing is to be paid.
                self.run.streamed.meter.refuses();
                self.run.streamed.meter.asks(provider, model, "");
                (self.provider, self.percent) = (provider, 0);
            }
            ImageStep::Asked => {
                self.asked = true;
                self.run.streamed.meter.may_draw();
                self.voice.note_stage(self.percent, DRAWING).await?;
                self.progress(DRAWING.into(), None).await?;
            }
            // The end is told by what it brings, not by a number.
            ImageStep::Progress { percent: 100.., .. } | ImageStep::Done { .. } => {}
            ImageStep::Progress { percent, message } => {
                self.percent = percent;
                // Where the provider may be paid, the note that it was asked stands until the end.
                if !self.asked {
                    self.voice.note_progress(percent, &message).await?;
                }
                self.progress(message, None).await?;
            }
            ImageStep::Preview { percent, message, picture } => {
                self.percent = percent;
                let draft = self.run.tools.media.put_draft(picture.kind, &picture.bytes).await?;
                let preview = shown(draft.url.clone(), &picture);
                self.drafts.push(draft);
                self.progress(message, Some(Preview { preview })).await?;
            }
        }
        Ok(())
    }

    async fn progress(&self, message: String, result: Option<Preview>) -> Result<(), Broken> {
        self.voice.tell(Fact::GenerationProgress { job_id: self.run.fence.job, progress: self.percent, message, result }).await
    }

    async fn keep(&self, picture: &Picture) -> Result<GeneratedImage, Broken> {
        match self.run.tools.media.put(picture.kind, &picture.bytes).await {
            Ok(url) => Ok(shown(url, picture)),
            Err(error) if self.asked => Err(Broken::PictureLost(format!("it can't be stored: {error}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Where nothing is to be paid, another attempt may ask again.
    async fn refused(&mut self, error: &ProviderError) -> Result<(), Broken> {
        if self.asked && !error.billed {
            self.run.streamed.meter.refuses();
            self.voice.note_stage(0, REFUSED).await?;
        }
        Ok(())
    }
}

fn shown(url: String, picture: &Picture) -> GeneratedImage {
    let Picture { kind, size, bytes } = picture;
    GeneratedImage { url, width: size.width, height: size.height, content_type: kind.content_type().into(), bytes: bytes.len() as u64 }
}
