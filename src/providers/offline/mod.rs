//! The provider that needs no key and no network: it speaks and paints by itself, and says so.
//!
//! It serves where no other provider is configured, so that a newcomer sees everything work. Refuses to pretend to be a
//! model: its name, its texts and its `model` say what it is.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::{Fault, ImageRequest, ImageStep, Picture, Provider, ProviderError, Role, Steps, TextRequest, TextStep};
use crate::{
    event::{FinishReason, Usage},
    media::ImageType,
    model::Target,
};

mod painter;
mod text;

const NAME: &str = "offline";
const WRITER: &str = "offline-writer";
const PAINTER: &str = "offline-painter";

/// What writes, as clients may ask for it.
#[must_use]
pub fn writer() -> Target {
    Target { provider: NAME.into(), model: WRITER.into() }
}

/// What paints, as clients may ask for it.
#[must_use]
pub fn painter() -> Target {
    Target { provider: NAME.into(), model: PAINTER.into() }
}

/// Speaks and paints without a model.
#[derive(Debug, Clone, Copy)]
pub struct Offline {
    /// How long a word takes.
    pub pace: Duration,
}

impl Provider for Offline {
    fn name(&self) -> &'static str {
        NAME
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        let pace = self.pace;
        let steps = write(&request);
        let begin = TextStep::Begin { provider: NAME, model: WRITER.into() };
        stream::iter(std::iter::once(begin).chain(steps))
            .then(move |step| async move {
                if matches!(step, TextStep::Delta { .. }) && !pace.is_zero() {
                    tokio::time::sleep(pace).await;
                }
                Ok(step)
            })
            .boxed_local()
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let (steps, receiver) = mpsc::unbounded_channel();
        let wanted = Wanted(Arc::new(AtomicBool::new(true)));
        let flag = wanted.0.clone();
        tokio::task::spawn_blocking(move || paint(&request, &steps, &flag));
        // The flag falls with the stream: who no longer waits for the picture stops the painter.
        stream::unfold((receiver, wanted), |(mut receiver, wanted)| async move { Some((receiver.recv().await?, (receiver, wanted))) }).boxed_local()
    }
}

/// Falls when it is dropped.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn write(request: &TextRequest) -> Vec<TextStep> {
    let (role, prompt) = request.turns.last().map_or((&Role::Assistant, ""), |(role, text)| (role, text.as_str()));
    let author = match role {
        Role::User(name) if !name.is_empty() => Some(name.as_str()),
        _ => None,
    };
    let reply = text::reply(&text::Request { prompt, author });
    let words: Vec<&str> = text::words(&reply).collect();
    let most = request.max_tokens.map_or(usize::MAX, |most| most as usize);
    let said = words.len().min(most);
    let mut steps: Vec<TextStep> = words[..said]
        .iter()
        .enumerate()
        .map(|(index, word)| TextStep::Delta { text: (*word).to_owned(), progress: Some(((index + 1) * 100 / said) as u8) })
        .collect();
    steps.push(TextStep::Done {
        model: WRITER.into(),
        finish_reason: if said < words.len() { FinishReason::Length } else { FinishReason::Stop },
        usage: Some(Usage { input_tokens: prompt.split_whitespace().count() as u64, output_tokens: said as u64 }),
    });
    steps
}

fn paint(request: &ImageRequest, steps: &mpsc::UnboundedSender<Result<ImageStep, ProviderError>>, wanted: &AtomicBool) {
    let mut on_progress = |percent: u8| {
        let message = format!("Painting, {percent} % of the picture is done");
        let heard = steps.send(Ok(ImageStep::Progress { percent, message })).is_ok();
        if heard && wanted.load(Ordering::Relaxed) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    // Nobody hears it where the painter was stopped.
    let _ = steps.send(Ok(ImageStep::Begin { provider: NAME, model: PAINTER.into() }));
    let picture = painter::paint(&request.prompt, request.size.width, request.size.height, &mut on_progress);
    let done = match picture {
        Some(bytes) => {
            Ok(ImageStep::Done { model: PAINTER.into(), picture: Picture { kind: ImageType::Png, size: request.size, bytes: bytes.into() } })
        }
        None => Err(ProviderError::new(NAME, Fault::BrokeOff, "the painter was stopped")),
    };
    let _ = steps.send(done);
}
