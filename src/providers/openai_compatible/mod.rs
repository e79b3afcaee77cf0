//! Providers that speak OpenAI's protocol: OpenAI itself, LaoZhang, OpenRouter, Ollama, vLLM, llama.cpp, DeepSeek, Groq and
//! their kind. Chat by `POST /chat/completions`, pictures by `POST /images/generations` or inside of a chat's answer.
//!
//! Refuses to show reasoning as an answer: `reasoning`, `reasoning_content` and their like are passed over.

pub mod chat;
mod drawing;

use std::sync::Arc;

use futures_util::{TryStreamExt as _, stream};
use reqwest::{RequestBuilder, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::chat::Chat;
use super::{
    Fault, ImageRequest, ImageStep, Offered, Provider, ProviderError, Role, Steps, TextRequest, TextStep,
    models::{ModelSettings, Models, Thinking},
    wire::{
        Caller,
        answer::{self, Answer},
    },
};

/// A provider that speaks OpenAI's protocol.
#[derive(Debug, Clone)]
pub struct OpenAiCompatible {
    pub caller: Caller,
    /// Up to and with `/v1`.
    pub base_url: String,
    pub models: Arc<Models>,
    /// Whether a picture's URL may be on a private address, as with a server of one's own.
    pub may_be_local: bool,
}

impl OpenAiCompatible {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.trim_end_matches('/'))
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.authorised(self.caller.post(self.url(path), body))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match self.caller.secret("Bearer ") {
            Some(secret) => request.header(header::AUTHORIZATION, secret),
            None => request,
        }
    }

    fn settings(&self, model: &str) -> ModelSettings {
        self.models.of(self.caller.name, &self.base_url, model)
    }

    async fn begin(&self, request: TextRequest) -> Result<Steps<TextStep>, ProviderError> {
        let begun = Instant::now();
        let model = request.model.clone().unwrap_or_default();
        let body = chat_body(&request, &self.settings(&model));
        let reply = self.caller.send(self.post("/chat/completions", &body), begun + self.caller.patience.first).await?;
        answer::stream(self.caller.clone(), reply, begun, Answer::<Chat>::new(self.caller.name, model)).await
    }
}

fn chat_body(request: &TextRequest, settings: &ModelSettings) -> Value {
    let messages: Vec<Value> = request.turns.iter().map(message).collect();
    let mut body = json!({"model": request.model, "messages": messages, "stream": true, "stream_options": {"include_usage": true}});
    if let Some(most) = request.max_tokens {
        body[settings.max_tokens_name.as_deref().unwrap_or("max_tokens")] = json!(most);
    }
    if let Some(temperature) = settings.temperature {
        body["temperature"] = json!(temperature);
    }
    match &settings.thinking {
        Some(Thinking::Level(level)) => body["reasoning_effort"] = json!(level),
        Some(Thinking::Tokens(tokens)) => body["reasoning"] = json!({"max_tokens": tokens}),
        None => {}
    }
    settings.patched(body)
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
        self.caller.name
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        self.caller.clone().text(async move { self.begin(request).await })
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let caller = self.caller.clone();
        caller.image(stream::once(async move { Ok(self.draw(request)) }).try_flatten())
    }

    fn offers<'a>(&'a self, model: &'a str) -> Offered<'a> {
        Box::pin(async move {
            let deadline = Instant::now() + self.caller.patience.first;
            let request = self.authorised(self.caller.client.get(self.url("/models")));
            let listed = self.caller.read_json(self.caller.send(request, deadline).await?, deadline).await?;
            let models = listed["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            if models.iter().any(|listed| listed["id"] == model) {
                return Ok(());
            }
            Err(self.caller.error(Fault::ModelMissing, &format!("it does not list {model} among its {} models", models.len())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Purpose;

    #[test]
    fn names_of_parameters_are_settings() {
        let turns = vec![(Role::System, "s".into()), (Role::User("Ada".into()), "hi".into())];
        let request = TextRequest { purpose: Purpose::Chat, turns, route: Vec::new(), model: Some("m".into()), max_tokens: Some(9) };
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "Ada: hi"}]);
        let plain = json!({"model": "m", "messages": messages, "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 9});
        assert_eq!(chat_body(&request, &ModelSettings::default()), plain);
        let models = r#"{"openai/m": {"maxTokensName": "max_completion_tokens", "temperature": 0.5, "thinking": "low",
            "parameters": {"stream_options": null, "top_p": 0.9}}}"#;
        let settings = Models::read(models).unwrap().of("openai", "http://x.test", "m");
        let set = json!({"model": "m", "messages": messages, "stream": true, "max_completion_tokens": 9, "temperature": 0.5,
            "reasoning_effort": "low", "top_p": 0.9});
        assert_eq!(chat_body(&request, &settings), set);
    }
}
