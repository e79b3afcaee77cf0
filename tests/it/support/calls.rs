//! Providers as the worker has them, without a server around: what they give for one request, from a fake one's bytes.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use persona_community::{
    event::{FinishReason, Usage},
    job::ImageSize,
    providers::{
        ImageRequest, ImageStep, Key, Picture, Provider, ProviderError, Purpose, Role, TextRequest, TextStep,
        models::Models,
        router::{Routes, breaker::Rests, turns::Concurrency},
        setup::{Account, ProviderConfig},
        wire::Patience,
    },
};

use super::provider::FakeProvider;

/// The key of every provider here.
pub const KEY: &str = "sk-planted-key-that-nobody-may-see-0123456789";

/// Nobody, called as patiently as tests are.
pub fn nobody() -> ProviderConfig {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let patience = super::DEADLINE;
    ProviderConfig {
        laozhang: None,
        gemini: None,
        openai: None,
        routes: Routes::default(),
        models: Models::default(),
        patience: Patience { connect: patience, first: patience, between: patience, total: patience },
        rests: Rests { short: Duration::from_mins(1), long: Duration::from_mins(10) },
        concurrency: Concurrency::default(),
        may_be_local: false,
        offline_pace: Duration::ZERO,
    }
}

fn account(base_url: String) -> Account {
    Account { key: Key::new(KEY), base_url }
}

/// `fake`, under OpenAI's name and protocol, and after it another one under LaoZhang's.
pub fn openai(fake: &FakeProvider, laozhang: Option<&FakeProvider>) -> ProviderConfig {
    ProviderConfig { openai: Some(account(fake.url())), laozhang: laozhang.map(|fake| account(fake.url())), ..nobody() }
        .routed("openai/m-1", "laozhang/m-2")
}

/// `fake`, in Gemini's protocol.
pub fn gemini(fake: &FakeProvider) -> ProviderConfig {
    ProviderConfig { gemini: Some(account(format!("http://{}", fake.address))), ..nobody() }.routed("gemini/g-1", "openai/m-1")
}

trait Routed {
    fn routed(self, first: &str, second: &str) -> Self;
}

impl Routed for ProviderConfig {
    fn routed(self, first: &str, second: &str) -> Self {
        let names = self.names();
        let targets: Vec<_> = [first, second].into_iter().filter(|target| names.iter().any(|name| target.starts_with(name))).collect();
        let targets = || targets.iter().map(|target| target.parse().unwrap()).collect();
        Self { routes: Routes { chat: targets(), text: targets(), image: targets() }, ..self }
    }
}

/// What came of asking for a text.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Who began, in order.
    pub begun: Vec<&'static str>,
    /// What the last of them has said.
    pub text: String,
    /// How many pieces it came in.
    pub pieces: usize,
    /// How it ended, where it did.
    pub finish: Option<FinishReason>,
    pub usage: Option<Usage>,
    /// Why it did not.
    pub error: Option<ProviderError>,
}

/// Asks for a text, and waits for its end.
pub async fn write(provider: &Arc<dyn Provider>) -> Written {
    let turns = vec![(Role::User(String::new()), "p".to_owned())];
    let request = TextRequest { purpose: Purpose::Text, turns, route: Vec::new(), model: None, max_tokens: None };
    let (mut steps, mut written) = (provider.clone().text(request), Written::default());
    while let Some(step) = steps.next().await {
        match step {
            Ok(TextStep::Begin { provider, .. }) => {
                written.begun.push(provider);
                written.text.clear();
            }
            Ok(TextStep::Delta { text, .. }) => {
                written.text.push_str(&text);
                written.pieces += 1;
            }
            Ok(TextStep::Done { finish_reason, usage, .. }) => (written.finish, written.usage) = (Some(finish_reason), usage),
            Err(error) => written.error = Some(error),
        }
    }
    written
}

/// What came of asking for a picture.
#[derive(Debug, Default)]
pub struct Drawn {
    pub begun: Vec<&'static str>,
    pub previews: Vec<(u8, String)>,
    pub picture: Option<Picture>,
    pub error: Option<ProviderError>,
}

/// Asks for a picture, and waits for it.
pub async fn draw(provider: &Arc<dyn Provider>) -> Drawn {
    let request = ImageRequest { prompt: "a cat".into(), size: ImageSize::default(), route: Vec::new(), model: None };
    let (mut steps, mut drawn) = (provider.clone().image(request), Drawn::default());
    while let Some(step) = steps.next().await {
        match step {
            Ok(ImageStep::Begin { provider, .. }) => drawn.begun.push(provider),
            Ok(ImageStep::Asked | ImageStep::Progress { .. }) => {}
            Ok(ImageStep::Preview { percent, message, .. }) => drawn.previews.push((percent, message)),
            Ok(ImageStep::Done { picture, .. }) => drawn.picture = Some(picture),
            Err(error) => drawn.error = Some(error),
        }
    }
    drawn
}

/// A small picture.
pub fn png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 5, 4);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&[7; 60]).unwrap();
    bytes
}
