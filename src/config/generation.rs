//! Settings of what is generated: how much a reply is shown, what may be asked for, what it costs.

use clap::Args;

use super::wrong::Wrong;

#[derive(Debug, Clone, Args)]
pub struct GenerationSettings {
    /// Tokens that a reply and what it is shown of its room may have together, where its persona doesn't say
    #[arg(long = "persona-context-tokens", env = "PERSONA_CONTEXT_TOKENS", default_value = "8000", value_name = "COUNT")]
    context_tokens: String,
}

/// What is generated, and within which limits.
#[derive(Debug, Clone)]
pub struct GenerationConfig {
    pub context_tokens: u32,
}

impl GenerationSettings {
    pub(super) fn read(&self, wrong: &mut Wrong) -> GenerationConfig {
        GenerationConfig { context_tokens: wrong.number(&self.context_tokens, "PERSONA_CONTEXT_TOKENS", 256, 1_000_000) as u32 }
    }
}
