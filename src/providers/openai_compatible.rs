//! Providers that speak OpenAI's protocol: OpenAI itself, LaoZhang, OpenRouter, Ollama, vLLM, llama.cpp, DeepSeek, Groq and
//! their kind. Chat by `POST /chat/completions`, pictures by `POST /images/generations` or inside of a chat's answer.
//!
//! Refuses to show reasoning as an answer: `reasoning`, `reasoning_content` and their like are passed over.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, stream};
use reqwest::{Client, RequestBuilder, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Fault, ImageRequest, ImageStep, Key, Provider, ProviderError, Role, Steps, TextRequest, TextStep,
    http::{self, Events, Patience},
    picture,
};
use crate::{
    event::{FinishReason, Usage},
    job::ImageSize,
};

/// A provider that speaks OpenAI's protocol.
#[derive(Debug, Clone)]
pub struct OpenAiCompatible {
    pub name: &'static str,
    /// Up to and with `/v1`.
    pub base_url: String,
    pub key: Key,
    /// What the limit of tokens is called: newer models of OpenAI want `max_completion_tokens`.
    pub max_tokens_name: String,
    /// Models that draw inside of a chat's answer, not by `/images/generations`; a name may end in `*`.
    pub chat_drawers: Vec<String>,
    /// Whether a picture's URL may be on a private address, as with a server of one's own.
    pub may_be_local: bool,
    pub client: Client,
    pub patience: Patience,
}

impl OpenAiCompatible {
    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        // A compressing proxy would hold events back.
        let request =
            self.client.post(format!("{}{path}", self.base_url.trim_end_matches('/'))).header(header::ACCEPT_ENCODING, "identity").json(body);
        if self.key.is_empty() { request } else { request.bearer_auth(self.key.expose()) }
    }

    fn chat_body(&self, request: &TextRequest) -> Value {
        let messages: Vec<Value> = request.turns.iter().map(message).collect();
        let mut body = json!({"messages": messages, "stream": true, "stream_options": {"include_usage": true}});
        if let Some(model) = &request.model {
            body["model"] = json!(model);
        }
        if let Some(most) = request.max_tokens {
            body[&self.max_tokens_name] = json!(most);
        }
        body
    }

    async fn begin(&self, request: TextRequest) -> Result<Answer, ProviderError> {
        let begun = Instant::now();
        let response = http::send(self.name, self.post("/chat/completions", &self.chat_body(&request)), begun + self.patience.first).await?;
        let model = request.model.unwrap_or_default();
        let is_stream = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json"));
        let mut answer = Answer { provider: self.name, model, finish: None, usage: None, queue: Vec::new(), events: None, done: false };
        if is_stream {
            answer.events = Some(Events::new(self.name, response, self.patience, begun));
        } else {
            // Asked for a stream, some answer whole, or with an error.
            let body = http::read(self.name, response, begun + self.patience.total).await?;
            answer.take(&String::from_utf8_lossy(&body))?;
            answer.end()?;
        }
        Ok(answer)
    }
}

fn message((role, text): &(Role, String)) -> Value {
    match role {
        Role::System => json!({"role": "system", "content": text}),
        Role::Assistant => json!({"role": "assistant", "content": text}),
        Role::User(name) if name.is_empty() => json!({"role": "user", "content": text}),
        Role::User(name) => json!({"role": "user", "content": format!("{name}: {text}")}),
    }
}

impl Provider for OpenAiCompatible {
    fn name(&self) -> &'static str {
        self.name
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        let steps = async move {
            let answer = match self.begin(request).await {
                Ok(answer) => answer,
                Err(error) => return stream::iter([Err(error)]).boxed_local(),
            };
            stream::try_unfold(answer, |mut answer| async move { Ok(answer.step().await?.map(|step| (step, answer))) }).boxed_local()
        };
        stream::once(steps).flatten().boxed_local()
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let drawn = async move {
            let draws_in_chat = request.model.as_deref().is_some_and(|model| self.chat_drawers.iter().any(|name| is_called(name, model)));
            let (model, bytes) = if draws_in_chat { self.draw_in_chat(request).await? } else { self.draw(request).await? };
            Ok(ImageStep::Done { model, picture: picture::recognise(self.name, bytes)? })
        };
        stream::once(async { Ok(ImageStep::Asked) }).chain(stream::once(drawn)).boxed_local()
    }
}

fn is_called(name: &str, model: &str) -> bool {
    name.strip_suffix('*').map_or(name == model, |start| model.starts_with(start))
}

/// The pictures.
impl OpenAiCompatible {
    /// Asks `/images/generations`; the picture comes as base64 or as a URL.
    async fn draw(&self, request: ImageRequest) -> Result<(String, Vec<u8>), ProviderError> {
        let model = request.model.unwrap_or_default();
        let body = json!({"model": model, "prompt": request.prompt, "n": 1, "size": known_size(request.size)});
        let deadline = Instant::now() + self.patience.total;
        // Once it was sent it may be paid for, unless the provider says no.
        let response = http::send(self.name, self.post("/images/generations", &body), deadline).await.map_err(unless_refused)?;
        let answer = http::read(self.name, response, deadline).await.map_err(ProviderError::may_be_billed)?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        if let Some(told) = http::error_in(&answer) {
            return Err(http::of_told(self.name, 200, &told));
        }
        let picture = &answer["data"][0];
        let bytes = match (picture["b64_json"].as_str(), picture["url"].as_str()) {
            (Some(encoded), _) => STANDARD.decode(encoded).map_err(|_| self.no_picture("its picture is not base64"))?,
            (None, Some(url)) => picture::load(self.name, url, self.may_be_local).await?,
            (None, None) => return Err(self.no_picture("its answer has no picture")),
        };
        Ok((model, bytes))
    }

    /// Asks by chat; the picture stands in the answer's text, or beside it in `images`.
    async fn draw_in_chat(&self, request: ImageRequest) -> Result<(String, Vec<u8>), ProviderError> {
        let model = request.model.unwrap_or_default();
        let body =
            json!({"model": model, "stream": false, "modalities": ["image", "text"], "messages": [{"role": "user", "content": request.prompt}]});
        let deadline = Instant::now() + self.patience.total;
        let response = http::send(self.name, self.post("/chat/completions", &body), deadline).await.map_err(unless_refused)?;
        let answer = http::read(self.name, response, deadline).await.map_err(ProviderError::may_be_billed)?;
        // Some begin with blank lines to keep the connection open.
        let answer: Value = serde_json::from_str(String::from_utf8_lossy(&answer).trim()).unwrap_or(Value::Null);
        if let Some(told) = http::error_in(&answer) {
            return Err(http::of_told(self.name, 200, &told));
        }
        let message = &answer["choices"][0]["message"];
        let text = message["content"].as_str().unwrap_or_default();
        let beside = message["images"][0]["image_url"]["url"].as_str();
        let Some(url) = beside.or_else(|| picture::urls_in(text).into_iter().next()) else {
            let refusal = ProviderError::new(self.name, Fault::Blocked, format!("it drew nothing and said: {text}"));
            return Err(refusal.may_be_billed());
        };
        Ok((model, picture::load(self.name, url, self.may_be_local).await?))
    }

    fn no_picture(&self, detail: &str) -> ProviderError {
        ProviderError::new(self.name, Fault::Malformed, detail).may_be_billed()
    }
}

/// A request that broke off may have been done all the same; one that was refused was not.
fn unless_refused(error: ProviderError) -> ProviderError {
    if matches!(error.fault, Fault::TimedOut | Fault::BrokeOff) { error.may_be_billed() } else { error }
}

/// The size, of those that all models know, nearest to the one asked for.
fn known_size(size: ImageSize) -> &'static str {
    match (f64::from(size.width) / f64::from(size.height)).ln() {
        wide if wide > 0.2 => "1536x1024",
        tall if tall < -0.2 => "1024x1536",
        _ => "1024x1024",
    }
}

/// An answer that is being read.
struct Answer {
    provider: &'static str,
    model: String,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    /// Text that is read and not given yet.
    queue: Vec<String>,
    /// Nothing where the answer came whole.
    events: Option<Events>,
    done: bool,
}

impl Answer {
    async fn step(&mut self) -> Result<Option<TextStep>, ProviderError> {
        loop {
            if !self.queue.is_empty() {
                return Ok(Some(TextStep::Delta { text: std::mem::take(&mut self.queue).concat(), progress: None }));
            }
            if self.done {
                return Ok(None);
            }
            let Some(events) = &mut self.events else { return self.finished() };
            match events.next().await? {
                // The end is said; who waits for the connection to close may wait for ever.
                Some((_, data)) if data.trim() == "[DONE]" => {
                    self.finish.get_or_insert(FinishReason::Stop);
                    return self.finished();
                }
                Some((_, data)) => self.take(&data)?,
                None => {
                    let stray = events.stray().to_owned();
                    if !stray.is_empty() {
                        self.take(&stray)?;
                    }
                    self.end()?;
                    return self.finished();
                }
            }
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one type for every way on")]
    fn finished(&mut self) -> Result<Option<TextStep>, ProviderError> {
        self.done = true;
        let finish_reason = self.finish.unwrap_or(FinishReason::Stop);
        Ok(Some(TextStep::Done { model: std::mem::take(&mut self.model), finish_reason, usage: self.usage }))
    }

    /// Neither a reason to finish nor `[DONE]` came: the answer is cut.
    fn end(&self) -> Result<(), ProviderError> {
        if self.finish.is_some() {
            return Ok(());
        }
        Err(ProviderError::new(self.provider, Fault::BrokeOff, "its answer has no end"))
    }

    /// Takes one chunk, or a whole answer: they differ in `delta` and `message`.
    fn take(&mut self, data: &str) -> Result<(), ProviderError> {
        // A line that is no JSON is passed over; where nothing follows it, the missing end tells.
        let Ok(chunk) = serde_json::from_str::<Value>(data) else { return Ok(()) };
        if let Some(told) = http::error_in(&chunk) {
            return Err(http::of_told(self.provider, 200, &told));
        }
        if let Some(model) = chunk["model"].as_str().filter(|model| !model.is_empty()) {
            model.clone_into(&mut self.model);
        }
        if let (Some(input_tokens), Some(output_tokens)) = (chunk["usage"]["prompt_tokens"].as_u64(), chunk["usage"]["completion_tokens"].as_u64()) {
            self.usage = Some(Usage { input_tokens, output_tokens });
        }
        let choice = &chunk["choices"][0];
        let said = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(&Value::Null);
        let parts = [said["content"].as_str(), said["refusal"].as_str()];
        self.queue.extend(parts.into_iter().flatten().filter(|text| !text.is_empty()).map(str::to_owned));
        match choice["finish_reason"].as_str() {
            None => {}
            Some("error") => return Err(ProviderError::new(self.provider, Fault::BrokeOff, "it ends its answer with an error")),
            Some("length") => self.finish = Some(FinishReason::Length),
            Some("content_filter") => self.finish = Some(FinishReason::ContentFilter),
            Some(_) => self.finish = Some(FinishReason::Stop),
        }
        Ok(())
    }
}
