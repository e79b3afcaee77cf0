//! Google's Gemini, in its own protocol: `streamGenerateContent?alt=sse`; pictures come as parts of an answer.
//!
//! Refuses to show thoughts, text or drafts, as an answer.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, stream};
use reqwest::{Client, Response, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Fault, ImageRequest, ImageStep, Key, Provider, ProviderError, Role, Steps, TextRequest, TextStep,
    http::{self, Events, Patience},
    picture,
};
use crate::event::{FinishReason, Usage};

const NAME: &str = "gemini";

/// Gemini.
#[derive(Debug, Clone)]
pub struct Gemini {
    /// Without `/v1beta`.
    pub base_url: String,
    pub key: Key,
    pub client: Client,
    pub patience: Patience,
}

impl Gemini {
    async fn post(&self, model: &str, body: &Value, begun: Instant) -> Result<Response, ProviderError> {
        let url = format!("{}/v1beta/models/{model}:streamGenerateContent?alt=sse", self.base_url.trim_end_matches('/'));
        let request = self.client.post(url).header("x-goog-api-key", self.key.expose()).header(header::ACCEPT_ENCODING, "identity").json(body);
        http::send(NAME, request, begun + self.patience.first).await
    }

    async fn begin(&self, model: Option<String>, body: Value) -> Result<Answer, ProviderError> {
        let begun = Instant::now();
        let model = model.unwrap_or_default();
        let response = self.post(&model, &body, begun).await?;
        let events = Events::new(NAME, response, self.patience, begun);
        Ok(Answer { model, finish: None, usage: None, events, done: false })
    }
}

fn text_body(request: &TextRequest) -> Value {
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
        body["generationConfig"] = json!({"maxOutputTokens": most});
    }
    body
}

fn image_body(request: &ImageRequest) -> Value {
    let ratio = picture::nearest_ratio(request.size);
    json!({
        "contents": [{"role": "user", "parts": [{"text": request.prompt}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": ratio}},
    })
}

impl Provider for Gemini {
    fn name(&self) -> &'static str {
        NAME
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        let steps = async move {
            match self.begin(request.model.clone(), text_body(&request)).await {
                Ok(answer) => {
                    stream::try_unfold(answer, |mut answer| async move { Ok(answer.step().await?.map(|step| (step, answer))) }).boxed_local()
                }
                Err(error) => stream::iter([Err(error)]).boxed_local(),
            }
        };
        stream::once(steps).flatten().boxed_local()
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let drawn = async move {
            let mut answer = self.begin(request.model.clone(), image_body(&request)).await?;
            let picture = answer.picture().await.map_err(ProviderError::may_be_billed)?;
            Ok(ImageStep::Done { model: answer.model, picture: picture::recognise(NAME, picture)? })
        };
        stream::once(async { Ok(ImageStep::Asked) }).chain(stream::once(drawn)).boxed_local()
    }
}

/// An answer that is being read.
struct Answer {
    model: String,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    events: Events,
    done: bool,
}

impl Answer {
    async fn step(&mut self) -> Result<Option<TextStep>, ProviderError> {
        if self.done {
            return Ok(None);
        }
        loop {
            let Some(chunk) = self.next().await? else {
                self.done = true;
                let finish_reason = self.finish.unwrap_or(FinishReason::Stop);
                return Ok(Some(TextStep::Done { model: std::mem::take(&mut self.model), finish_reason, usage: self.usage }));
            };
            let text: String = parts(&chunk).iter().filter_map(|part| part["text"].as_str()).collect();
            if !text.is_empty() {
                return Ok(Some(TextStep::Delta { text, progress: None }));
            }
        }
    }

    async fn picture(&mut self) -> Result<Vec<u8>, ProviderError> {
        let (mut picture, mut said) = (None, String::new());
        while let Some(chunk) = self.next().await? {
            for part in parts(&chunk) {
                said.push_str(part["text"].as_str().unwrap_or_default());
                if let Some(data) = part["inlineData"]["data"].as_str() {
                    let bytes = STANDARD.decode(data).map_err(|_| ProviderError::new(NAME, Fault::Malformed, "its picture is not base64"))?;
                    picture = Some(bytes);
                }
            }
        }
        picture.ok_or_else(|| ProviderError::new(NAME, Fault::Blocked, format!("it drew nothing and said: {said}")))
    }

    /// The next chunk; nothing at a proper end. A finish reason may come in any chunk, so only the end of the stream ends it.
    async fn next(&mut self) -> Result<Option<Value>, ProviderError> {
        loop {
            let Some((_, data)) = self.events.next().await? else {
                // In the middle of a stream an error comes as bare JSON.
                let stray: Value = serde_json::from_str(self.events.stray()).unwrap_or(Value::Null);
                if let Some(told) = http::error_in(&stray) {
                    return Err(http::of_told(NAME, 200, &told));
                }
                if self.finish.is_none() {
                    return Err(ProviderError::new(NAME, Fault::BrokeOff, "its answer has no end"));
                }
                return Ok(None);
            };
            let Ok(chunk) = serde_json::from_str::<Value>(&data) else { continue };
            if let Some(told) = http::error_in(&chunk) {
                return Err(http::of_told(NAME, 200, &told));
            }
            self.note(&chunk)?;
            return Ok(Some(chunk));
        }
    }

    fn note(&mut self, chunk: &Value) -> Result<(), ProviderError> {
        if let Some(reason) = chunk["promptFeedback"]["blockReason"].as_str() {
            return Err(ProviderError::new(NAME, Fault::Blocked, format!("the prompt is blocked: {reason}")));
        }
        let count = |field: &str| chunk["usageMetadata"][field].as_u64();
        if let Some(input_tokens) = count("promptTokenCount") {
            let output_tokens = count("candidatesTokenCount").unwrap_or(0) + count("thoughtsTokenCount").unwrap_or(0);
            self.usage = Some(Usage { input_tokens, output_tokens });
        }
        match chunk["candidates"][0]["finishReason"].as_str() {
            None => {}
            Some("STOP") => self.finish = Some(FinishReason::Stop),
            Some("MAX_TOKENS") => self.finish = Some(FinishReason::Length),
            Some("MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "OTHER" | "IMAGE_OTHER" | "NO_IMAGE") => {
                return Err(ProviderError::new(NAME, Fault::Malformed, format!("it gave up: {}", chunk["candidates"][0]["finishReason"])));
            }
            Some(_) => self.finish = Some(FinishReason::ContentFilter),
        }
        Ok(())
    }
}

/// The parts that are the answer: not its thoughts, and not the drafts of its pictures.
fn parts(chunk: &Value) -> Vec<&Value> {
    let parts = chunk["candidates"][0]["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter(|part| part["thought"] != true).collect()
}
