//! What the chunks of Gemini's `streamGenerateContent` mean.

use serde_json::Value;

use crate::{
    event::{FinishReason, Usage},
    providers::{
        Fault, ProviderError,
        wire::answer::{Dialect, Said},
    },
};

/// Gemini's chunks. A reason to finish may come in any of them, even before the text, so only the end of the stream ends it.
#[derive(Debug)]
pub struct Chunks;

impl Dialect for Chunks {
    const REASON_IS_LAST: bool = false;

    fn chunk(chunk: &Value, said: &mut Said) -> Result<(), ProviderError> {
        if let Some(reason) = chunk["promptFeedback"]["blockReason"].as_str() {
            return Err(said.error(Fault::Blocked, format!("the prompt is blocked: {reason}")));
        }
        let count = |field: &str| chunk["usageMetadata"][field].as_u64();
        if let Some(input_tokens) = count("promptTokenCount") {
            let output_tokens = count("candidatesTokenCount").unwrap_or(0) + count("thoughtsTokenCount").unwrap_or(0);
            said.usage = Some(Usage { input_tokens, output_tokens });
        }
        parts(chunk).filter_map(|part| part["text"].as_str()).for_each(|text| said.say(text));
        said.finish = match chunk["candidates"][0]["finishReason"].as_str() {
            None | Some("" | "FINISH_REASON_UNSPECIFIED") => return Ok(()),
            Some("STOP") => Some(FinishReason::Stop),
            Some("MAX_TOKENS") => Some(FinishReason::Length),
            Some(reason @ ("MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "OTHER" | "IMAGE_OTHER" | "NO_IMAGE" | "LANGUAGE")) => {
                return Err(said.error(Fault::Malformed, format!("it gave up: {reason}")));
            }
            Some(_) => Some(FinishReason::ContentFilter),
        };
        Ok(())
    }
}

/// The parts that are the answer: not its thoughts, and not the drafts of its pictures.
pub fn parts(chunk: &Value) -> impl Iterator<Item = &Value> {
    let parts = chunk["candidates"][0]["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter(|part| part["thought"] != true)
}
