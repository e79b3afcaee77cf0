//! Pictures by Gemini: parts of an answer that may be words as well.
//!
//! Once a request is sent it may be paid for: unless Gemini itself says that it refuses, what goes wrong is marked so, and a
//! picture that has come counts however the answer ends.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Gemini,
    chunks::{Chunks, parts},
};
use crate::providers::{
    Fault, ImageRequest, ImageStep, Picture, ProviderError,
    models::ModelSettings,
    picture,
    wire::{Events, Reply, answer::Answer},
};

impl Gemini {
    /// Draws.
    pub(super) async fn draw(&self, request: ImageRequest) -> Result<ImageStep, ProviderError> {
        let begun = Instant::now();
        let model = request.model.clone().unwrap_or_default();
        let body = image_body(&request, &self.settings(&model));
        let asked = self.send(&model, &body, begun + self.caller.patience.total).await;
        let reply = asked.map_err(ProviderError::unless_refused)?;
        let request_id = reply.request_id().map(str::to_owned);
        let picture = self.picture(reply, begun).await;
        let picture = picture.map_err(|error| error.unless_refused().of_request(request_id.as_deref()))?;
        Ok(ImageStep::Done { model, picture })
    }

    async fn picture(&self, reply: Reply, begun: Instant) -> Result<Picture, ProviderError> {
        let name = self.caller.name;
        let mut drawn = Drawn { answer: Answer::new(name, String::new()), encoded: None, said: String::new() };
        let ended = self.read(reply, begun, &mut drawn).await;
        match (drawn.encoded, ended) {
            (Some(encoded), _) => picture::recognise(name, picture::decode(name, &encoded)?),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => {
                let mut refusal = self.caller.error(Fault::Blocked, "it drew nothing").may_be_billed();
                refusal.words = Some(drawn.said.into());
                Err(refusal)
            }
        }
    }

    async fn read(&self, reply: Reply, begun: Instant, drawn: &mut Drawn) -> Result<(), ProviderError> {
        if reply.is_json() {
            // Asked for a stream, some answer with all of its chunks in a list.
            let whole = self.caller.read_json(reply, begun + self.caller.patience.total).await?;
            let chunks = if let Value::Array(chunks) = &whole { chunks.as_slice() } else { std::slice::from_ref(&whole) };
            chunks.iter().try_for_each(|chunk| drawn.take(chunk))?;
            return drawn.answer.end("");
        }
        // Nothing may come for as long as it draws.
        let mut caller = self.caller.clone();
        (caller.patience.first, caller.patience.between) = (caller.patience.total, caller.patience.total);
        let mut events = Events::new(caller, reply, begun);
        while let Some((event, data)) = events.next().await? {
            match serde_json::from_str(&data) {
                Ok(chunk) if event != "error" => drawn.take(&chunk)?,
                _ => drawn.answer.take(&event, &data)?,
            }
        }
        drawn.answer.end(events.stray())
    }
}

/// What has come of a picture.
struct Drawn {
    answer: Answer<Chunks>,
    /// The newest picture; those before it were drafts.
    encoded: Option<String>,
    said: String,
}

impl Drawn {
    fn take(&mut self, chunk: &Value) -> Result<(), ProviderError> {
        self.encoded = parts(chunk).filter_map(|part| part["inlineData"]["data"].as_str()).last().map(str::to_owned).or(self.encoded.take());
        self.answer.chunk(chunk)?;
        self.said.extend(self.answer.text());
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{job::ImageSize, providers::models::Models};

    #[test]
    fn what_is_asked_for_is_a_picture_of_the_nearest_ratio() {
        let picture = ImageRequest { prompt: "p".into(), size: ImageSize { width: 1600, height: 900 }, route: Vec::new(), model: None };
        let settings = Models::read(r#"{"gemini/m": {"modalities": ["image"]}}"#).unwrap().of("gemini", "http://x.test", "m");
        let config = json!({"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9"}});
        assert_eq!(image_body(&picture, &settings)["generationConfig"], config);
        assert_eq!(image_body(&picture, &ModelSettings::default())["generationConfig"]["responseModalities"], json!(["TEXT", "IMAGE"]));
    }
}
