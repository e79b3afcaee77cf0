//! Google's Gemini, in its own protocol: `streamGenerateContent?alt=sse`; pictures come as parts of an answer.
//!
//! Refuses to show thoughts, text or drafts, as an answer.

pub mod chunks;
mod drawing;

use std::sync::Arc;

use futures_util::FutureExt as _;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::chunks::Chunks;
use super::{
    Fault, ImageRequest, ImageStep, Offered, Provider, ProviderError, Role, Steps, TextRequest, TextStep,
    models::{ModelSettings, Models, Thinking},
    wire::{
        Caller, Reply,
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
    use crate::providers::Purpose;

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
    }
}
