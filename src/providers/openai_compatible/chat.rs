//! What the chunks of OpenAI's chat mean.

use serde_json::Value;

use crate::{
    event::{FinishReason, Usage},
    providers::{
        Fault, ProviderError,
        wire::answer::{Dialect, Said},
    },
};

/// OpenAI's chat: chunks with a `delta`, or a whole answer with a `message`.
#[derive(Debug)]
pub struct Chat;

impl Dialect for Chat {
    const REASON_IS_LAST: bool = true;

    fn chunk(chunk: &Value, said: &mut Said) -> Result<(), ProviderError> {
        if let Some(model) = chunk["model"].as_str().filter(|model| !model.is_empty()) {
            model.clone_into(&mut said.model);
        }
        // It may ride on any chunk; the last one counts.
        if let (Some(input_tokens), Some(output_tokens)) = (chunk["usage"]["prompt_tokens"].as_u64(), chunk["usage"]["completion_tokens"].as_u64()) {
            said.usage = Some(Usage { input_tokens, output_tokens });
        }
        let choice = &chunk["choices"][0];
        let part = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(&Value::Null);
        texts(&part["content"], &mut |text| said.say(text));
        // A refusal is for the user to read.
        texts(&part["refusal"], &mut |text| said.say(text));
        said.finish = match choice["finish_reason"].as_str() {
            None | Some("") => return Ok(()),
            Some("error") => return Err(said.error(Fault::BrokeOff, "it ends its answer with an error")),
            Some("length") => Some(FinishReason::Length),
            Some("content_filter") => Some(FinishReason::ContentFilter),
            Some(_) => Some(FinishReason::Stop),
        };
        Ok(())
    }
}

/// The texts in a `content`: a text, or a list of parts.
pub fn texts(content: &Value, each: &mut dyn FnMut(&str)) {
    match content {
        Value::String(text) => each(text),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).for_each(each),
        _ => {}
    }
}
