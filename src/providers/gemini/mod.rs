//! Google's Gemini, in its own protocol: `streamGenerateContent?alt=sse`; pictures come as parts of an answer.
//!
//! Refuses to show thoughts, text or drafts, as an answer.

pub mod chunks;

use std::sync::Arc;

use futures_util::FutureExt as _;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::chunks::{Chunks, parts};
use super::{
    Fault, ImageRequest, ImageStep, Offered, Picture, Provider, ProviderError, Role, Steps, TextRequest, TextStep,
    models::{ModelSettings, Models, Thinking},
    picture,
    wire::{
        Caller, Events, Reply,
        answer::{self, Answer},
    },
};

/// Gemini.
#[derive(Debug, Clone)]
pub struct Gemini {
    pub caller: Caller,
    /// Without `/v1beta`.
    pub base_url: String,
    pub models: Arc<Models>,
}

impl Gemini {
    fn url(&self, path: &str) -> String {
        format!("{}/v1beta/models/{path}", self.base_url.trim_end_matches('/'))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match self.caller.secret("") {
            Some(secret) => request.header("x-goog-api-key", secret),
            None => request,
        }
    }

    async fn send(&self, model: &str, body: &Value, deadline: Instant) -> Result<Reply, ProviderError> {
        let url = self.url(&format!("{model}:streamGenerateContent?alt=sse"));
        self.caller.send(self.authorised(self.caller.post(url, body)), deadline).await
    }

    fn settings(&self, model: &str) -> ModelSettings {
        self.models.of(self.caller.name, &self.base_url, model)
    }

    async fn begin(&self, request: TextRequest) -> Result<Steps<TextStep>, ProviderError> {
        let begun = Instant::now();
        let model = request.model.clone().unwrap_or_default();
        let reply = self.send(&model, &text_body(&request, &self.settings(&model)), begun + self.caller.patience.first).await?;
        answer::stream(self.caller.clone(), reply, begun, Answer::<Chunks>::new(self.caller.name, model)).await
    }

    async fn draw(&self, request: ImageRequest) -> Result<ImageStep, ProviderError> {
        let begun = Instant::now();
        let model = request.model.clone().unwrap_or_default();
        let body = image_body(&request, &self.settings(&model));
        let unless_refused = |error: ProviderError| match error.fault {
            Fault::TimedOut | Fault::BrokeOff => error.may_be_billed(),
            _ => error,
        };
        let reply = self.send(&model, &body, begun + self.caller.patience.total).await.map_err(unless_refused)?;
        // Nothing may come for as long as it draws.
        let mut caller = self.caller.clone();
        (caller.patience.first, caller.patience.between) = (caller.patience.total, caller.patience.total);
        let mut events = Events::new(caller, reply, begun);
        let picture = self.picture(&mut events).await.map_err(|error| error.of_request(events.request_id()))?;
        Ok(ImageStep::Done { model, picture })
    }

    async fn picture(&self, events: &mut Events) -> Result<Picture, ProviderError> {
        let name = self.caller.name;
        let (mut answer, mut encoded, mut said) = (Answer::<Chunks>::new(name, String::new()), None, String::new());
        while let Some((event, data)) = events.next().await.map_err(ProviderError::may_be_billed)? {
            answer.take(&event, &data)?;
            said.extend(answer.text());
            let chunk: Value = serde_json::from_str(&data).unwrap_or(Value::Null);
            encoded = parts(&chunk).filter_map(|part| part["inlineData"]["data"].as_str()).last().map(str::to_owned).or(encoded);
        }
        match (encoded, answer.end(events.stray())) {
            (Some(encoded), _) => picture::recognise(name, picture::decode(name, &encoded)?),
            // Told at the end of the stream, it is the provider's own word.
            (None, Err(error)) if error.fault != Fault::BrokeOff => Err(error),
            (None, Err(error)) => Err(error.may_be_billed()),
            (None, Ok(())) => {
                let mut refusal = self.caller.error(Fault::Blocked, "it drew nothing").may_be_billed();
                refusal.words = Some(said.into());
                Err(refusal)
            }
        }
    }
}

fn text_body(request: &TextRequest, settings: &ModelSettings) -> Value {
    let system: Vec<&str> = request.turns.iter().filter(|(role, _)| *role == Role::System).map(|(_, text)| text.as_str()).collect();
    let mut contents: Vec<Value> = Vec::new();
    for (role, text) in &request.turns {
        let (speaker, text) = match role {
            Role::System => continue,
            Role::Assistant => ("model", text.clone()),
            Role::User(name) if name.is_empty() => ("user", text.clone()),
            Role::User(name) => ("user", format!("{name}: {text}")),
        };
        contents.push(json!({"role": speaker, "parts": [{"text": text}]}));
    }
    let mut body = json!({"contents": contents});
    if !system.is_empty() {
        body["systemInstruction"] = json!({"parts": [{"text": system.join("\n\n")}]});
    }
    if let Some(most) = request.max_tokens {
        body["generationConfig"][settings.max_tokens_name.as_deref().unwrap_or("maxOutputTokens")] = json!(most);
    }
    if let Some(temperature) = settings.temperature {
        body["generationConfig"]["temperature"] = json!(temperature);
    }
    match &settings.thinking {
        Some(Thinking::Level(level)) => body["generationConfig"]["thinkingConfig"] = json!({"thinkingLevel": level}),
        Some(Thinking::Tokens(tokens)) => body["generationConfig"]["thinkingConfig"] = json!({"thinkingBudget": tokens}),
        None => {}
    }
    settings.patched(body)
}

fn image_body(request: &ImageRequest, settings: &ModelSettings) -> Value {
    let modalities: Vec<String> = match &settings.modalities {
        Some(modalities) => modalities.iter().map(|modality| modality.to_uppercase()).collect(),
        None => vec!["TEXT".into(), "IMAGE".into()],
    };
    settings.patched(json!({
        "contents": [{"role": "user", "parts": [{"text": request.prompt}]}],
        "generationConfig": {"responseModalities": modalities, "imageConfig": {"aspectRatio": picture::nearest_ratio(request.size)}},
    }))
}

impl Provider for Gemini {
    fn name(&self) -> &'static str {
        self.caller.name
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        self.caller.clone().text(async move { self.begin(request).await })
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        self.caller.clone().image(async move { self.draw(request).await }.into_stream())
    }

    fn offers<'a>(&'a self, model: &'a str) -> Offered<'a> {
        Box::pin(async move {
            let deadline = Instant::now() + self.caller.patience.first;
            let request = self.authorised(self.caller.client.get(self.url(model)));
            let described = self.caller.read_json(self.caller.send(request, deadline).await?, deadline).await?;
            match described["supportedGenerationMethods"].as_array() {
                Some(methods) if !methods.iter().any(|method| method == "generateContent") => {
                    Err(self.caller.error(Fault::ModelMissing, &format!("{model} does not know generateContent")))
                }
                _ => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{job::ImageSize, providers::Purpose};

    #[test]
    fn names_of_parameters_are_settings() {
        let turns = vec![(Role::System, "s".into()), (Role::User("Ada".into()), "hi".into()), (Role::Assistant, "yes".into())];
        let request = TextRequest { purpose: Purpose::Chat, turns, route: Vec::new(), model: Some("m".into()), max_tokens: Some(9) };
        let contents = json!([{"role": "user", "parts": [{"text": "Ada: hi"}]}, {"role": "model", "parts": [{"text": "yes"}]}]);
        let system = json!({"parts": [{"text": "s"}]});
        let plain = json!({"contents": contents, "systemInstruction": system, "generationConfig": {"maxOutputTokens": 9}});
        assert_eq!(text_body(&request, &ModelSettings::default()), plain);
        let set = |settings: &str| Models::read(&format!(r#"{{"gemini/m": {settings}}}"#)).unwrap().of("gemini", "http://x.test", "m");
        let body = text_body(&request, &set(r#"{"thinking": 0, "temperature": 1, "parameters": {"generationConfig": {"topK": 3}}}"#));
        let config = json!({"maxOutputTokens": 9, "temperature": 1.0, "thinkingConfig": {"thinkingBudget": 0}, "topK": 3});
        assert_eq!(body["generationConfig"], config);
        assert_eq!(text_body(&request, &set(r#"{"thinking": "low"}"#))["generationConfig"]["thinkingConfig"], json!({"thinkingLevel": "low"}));
        let picture = ImageRequest { prompt: "p".into(), size: ImageSize { width: 1600, height: 900 }, route: Vec::new(), model: None };
        let config = json!({"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9"}});
        assert_eq!(image_body(&picture, &set(r#"{"modalities": ["image"]}"#))["generationConfig"], config);
    }
}
