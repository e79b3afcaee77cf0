//! Pictures: by `POST /images/generations`, with drafts where it streams, or inside of a chat's answer.
//!
//! Once a request is sent it may be paid for: unless the provider itself says that it refuses, what goes wrong is marked so.

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _, future, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{OpenAiCompatible, chat::texts};
use crate::{
    job::ImageSize,
    providers::{
        Fault, ImageRequest, ImageStep, Picture, ProviderError, Steps,
        models::{Drawing, ModelSettings},
        picture::{self, Fetch},
        wire::{Events, Reply, refusal::Told},
    },
};

impl OpenAiCompatible {
    /// Draws, in the way of the model.
    pub(super) fn draw(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let settings = self.settings(request.model.as_deref().unwrap_or_default());
        if settings.images == Some(Drawing::Chat) {
            return async move { self.draw_in_chat(request, settings).await }.into_stream().boxed_local();
        }
        let steps = async move {
            let (model, drafts) = (request.model.clone().unwrap_or_default(), settings.partial_images.unwrap_or(0));
            let begun = Instant::now();
            let body = generation_body(&request, &settings);
            let asked = self.caller.send(self.post("/images/generations", &body), begun + self.caller.patience.total).await;
            let reply = asked.map_err(ProviderError::unless_refused)?;
            if drafts == 0 || reply.is_json() {
                let whole = async move { self.whole(model, reply, begun).await };
                return Ok(whole.into_stream().boxed_local());
            }
            // Nothing may come for as long as it draws.
            let mut caller = self.caller.clone();
            (caller.patience.first, caller.patience.between) = (caller.patience.total, caller.patience.total);
            let drafted = Drafted { provider: self, model, drafts, events: Events::new(caller, reply, begun), done: false };
            Ok(stream::try_unfold(drafted, |mut drafted| async move { Ok(drafted.step().await?.map(|step| (step, drafted))) }).boxed_local())
        };
        stream::once(steps).flat_map(|steps| steps.unwrap_or_else(|error| stream::once(future::ready(Err(error))).boxed_local())).boxed_local()
    }

    /// The picture of an answer that comes whole, as base64 or by a URL.
    async fn whole(&self, model: String, reply: Reply, begun: Instant) -> Result<ImageStep, ProviderError> {
        let request_id = reply.request_id().map(str::to_owned);
        let answer = self.caller.read_json(reply, begun + self.caller.patience.total).await.map_err(ProviderError::unless_refused)?;
        let picture = self.picture_in(&answer["data"][0]).await;
        Ok(ImageStep::Done { model, picture: picture.map_err(|error| error.of_request(request_id.as_deref()))? })
    }

    async fn picture_in(&self, data: &Value) -> Result<Picture, ProviderError> {
        let bytes = match (data["b64_json"].as_str(), data["url"].as_str()) {
            (Some(encoded), _) if !encoded.is_empty() => picture::decode(self.caller.name, encoded)?,
            (_, Some(url)) => self.fetch(url).await?,
            _ => return Err(self.caller.error(Fault::Malformed, "its answer has no picture").may_be_billed()),
        };
        picture::recognise(self.caller.name, bytes)
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, ProviderError> {
        Fetch { provider: self.caller.name, may_be_local: self.may_be_local, patience: self.caller.patience }.load(url).await
    }

    /// Asks by chat; the picture stands in the answer's text, or beside it in `images`.
    async fn draw_in_chat(&self, request: ImageRequest, settings: ModelSettings) -> Result<ImageStep, ProviderError> {
        let deadline = Instant::now() + self.caller.patience.total;
        let body = chat_body(&request, &settings);
        let reply = self.caller.send(self.post("/chat/completions", &body), deadline).await.map_err(ProviderError::unless_refused)?;
        let request_id = reply.request_id().map(str::to_owned);
        let answer = self.caller.read_json(reply, deadline).await.map_err(ProviderError::unless_refused)?;
        let message = &answer["choices"][0]["message"];
        let picture = self.first_picture(message).await.map_err(|error| error.of_request(request_id.as_deref()))?;
        Ok(ImageStep::Done { model: request.model.unwrap_or_default(), picture })
    }

    /// The first of the pictures in a message that is one.
    async fn first_picture(&self, message: &Value) -> Result<Picture, ProviderError> {
        let mut said = String::new();
        texts(&message["content"], &mut |text| said.push_str(text));
        texts(&message["refusal"], &mut |text| said.push_str(text));
        let parts = [&message["images"], &message["content"]].into_iter().filter_map(Value::as_array).flatten();
        let beside: Vec<&str> = parts.filter_map(|part| part["image_url"]["url"].as_str()).collect();
        let urls = if beside.is_empty() { picture::urls_in(&said) } else { beside };
        let mut refusal = self.caller.error(Fault::Blocked, "it drew nothing").may_be_billed();
        refusal.words = Some(said.as_str().into());
        for url in urls.into_iter().take(MAX_TRIED) {
            match self.fetch(url).await.and_then(|bytes| picture::recognise(self.caller.name, bytes)) {
                Ok(picture) => return Ok(picture),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

/// Of how many pictures in one answer one must be good.
const MAX_TRIED: usize = 4;

fn generation_body(request: &ImageRequest, settings: &ModelSettings) -> Value {
    let mut body = json!({"model": request.model, "prompt": request.prompt, "n": 1, "size": known_size(request.size)});
    if let Some(count) = settings.partial_images.filter(|count| *count > 0) {
        body["stream"] = json!(true);
        body["partial_images"] = json!(count);
    }
    settings.patched(body)
}

fn chat_body(request: &ImageRequest, settings: &ModelSettings) -> Value {
    let ratio = picture::nearest_ratio(request.size);
    let prompt = match settings.ratio.as_deref() {
        Some("prompt") => format!("{}【{ratio}】", request.prompt),
        _ => request.prompt.clone(),
    };
    let mut body = json!({"model": request.model, "stream": false, "messages": [{"role": "user", "content": prompt}]});
    if let Some(modalities) = &settings.modalities {
        body["modalities"] = json!(modalities);
    }
    if let Some(name) = settings.ratio.as_deref().filter(|name| *name != "prompt") {
        *name.split('.').fold(&mut body, |within, name| &mut within[name]) = json!(ratio);
    }
    settings.patched(body)
}

/// The size, of those that all models know, nearest to the one asked for.
fn known_size(size: ImageSize) -> &'static str {
    match (f64::from(size.width) / f64::from(size.height)).ln() {
        wide if wide > 0.2 => "1536x1024",
        tall if tall < -0.2 => "1024x1536",
        _ => "1024x1024",
    }
}

/// A picture that comes in drafts.
struct Drafted {
    provider: Arc<OpenAiCompatible>,
    model: String,
    drafts: u8,
    events: Events,
    done: bool,
}

impl Drafted {
    async fn step(&mut self) -> Result<Option<ImageStep>, ProviderError> {
        if self.done {
            return Ok(None);
        }
        let step = self.read().await.map_err(|error| error.of_request(self.events.request_id()))?;
        self.done = matches!(step, ImageStep::Done { .. });
        Ok(Some(step))
    }

    async fn read(&mut self) -> Result<ImageStep, ProviderError> {
        let caller = &self.provider.caller;
        loop {
            let (name, data) = match self.events.next().await.map_err(ProviderError::may_be_billed)? {
                Some(event) => event,
                None => match serde_json::from_str(self.events.stray()) {
                    Ok(stray) => (String::new(), Value::to_string(&stray)),
                    Err(_) => return Err(caller.error(Fault::BrokeOff, "its picture has no end").may_be_billed()),
                },
            };
            if name == "error" {
                return Err(Told::in_event(&data).means(caller.name, 200));
            }
            let Ok(event) = serde_json::from_str::<Value>(&data) else { continue };
            if let Some(told) = Told::find(&event) {
                return Err(told.means(caller.name, 200));
            }
            let kind = event["type"].as_str().unwrap_or(&name);
            if kind.ends_with(".partial_image") {
                // A draft that is none is no reason to give up the picture.
                let draft = event["b64_json"].as_str().and_then(|encoded| picture::decode(caller.name, encoded).ok());
                let Some(picture) = draft.and_then(|bytes| picture::recognise(caller.name, bytes).ok()) else { continue };
                let number = event["partial_image_index"].as_u64().unwrap_or(0) + 1;
                let (drafts, number) = (u64::from(self.drafts).max(number), number);
                let percent = (number * 100 / (drafts + 1)) as u8;
                return Ok(ImageStep::Preview { percent, message: format!("Draft {number} of {drafts}"), picture });
            }
            if kind.ends_with(".completed") || event["b64_json"].is_string() || event["data"].is_array() {
                let data = if event["data"].is_array() { &event["data"][0] } else { &event };
                return Ok(ImageStep::Done { model: std::mem::take(&mut self.model), picture: self.provider.picture_in(data).await? });
            }
            if self.events.has_ended() {
                return Err(caller.error(Fault::BrokeOff, "its picture has no end").may_be_billed());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::models::Models;

    fn request(model: &str) -> ImageRequest {
        ImageRequest { prompt: "a cat".into(), size: ImageSize { width: 1600, height: 900 }, route: Vec::new(), model: Some(model.into()) }
    }

    #[test]
    fn how_a_model_draws_is_a_setting() {
        let known = |url: &str, model: &str| Models::default().of("openai", url, model);
        assert_eq!(
            generation_body(&request("gpt-image-2"), &known("https://api.openai.com/v1", "gpt-image-2")),
            json!({"model": "gpt-image-2", "prompt": "a cat", "n": 1, "size": "1536x1024", "stream": true, "partial_images": 2})
        );
        assert_eq!(
            generation_body(&request("gpt-image-2"), &known("https://api.laozhang.ai/v1", "gpt-image-2")),
            json!({"model": "gpt-image-2", "prompt": "a cat", "n": 1})
        );
        let asked = |prompt: &str| json!([{"role": "user", "content": prompt}]);
        assert_eq!(
            chat_body(&request("sora_image"), &known("https://api.laozhang.ai/v1", "sora_image")),
            json!({"model": "sora_image", "stream": false, "messages": asked("a cat【16:9】")})
        );
        assert_eq!(
            chat_body(&request("google/nano"), &known("https://openrouter.ai/api/v1", "google/nano")),
            json!({"model": "google/nano", "stream": false, "messages": asked("a cat"), "modalities": ["image", "text"],
                "image_config": {"aspect_ratio": "16:9"}})
        );
    }
}
