//! `persona token`: signs who somebody is, as a server with the same secret believes it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{config::Settings, id::UserId, server::secret, timestamp::Timestamp, token::Claims};

/// Whose token, and what it allows.
#[derive(Debug, Args)]
pub struct Token {
    /// The user's id
    user: String,
    /// What others see [default: the id]
    #[arg(long)]
    name: Option<String>,
    /// How long it is good
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=87_600))]
    hours: u64,
    /// A room that may be used, as channel:general, or some, as channel:team-*; may be given again [default: all rooms]
    #[arg(long = "channel", value_name = "PATTERN")]
    channels: Vec<String>,
}

impl Token {
    /// Prints the token.
    ///
    /// # Errors
    /// Where there is no secret, or something that was given is none of what it should be.
    pub fn run(&self, settings: &Settings) -> Result<()> {
        let signer = secret::known_signer(&settings.read()?)?;
        let user: UserId =
            self.user.parse().ok().with_context(|| format!("{:?} is no user's id: expected 1 to 64 of A-Z, a-z, 0-9, _ and -", self.user))?;
        let name = self.name.as_deref().unwrap_or(&self.user).trim();
        ensure!((1..=64).contains(&name.chars().count()) && !name.contains(char::is_control), "{name:?} is no name: expected 1 to 64 characters");
        for pattern in &self.channels {
            ensure!(pattern.starts_with("channel:"), "{pattern:?} is no room: expected channel:NAME or channel:START*");
        }
        let mut claims = Claims::new(user, name.to_owned(), Timestamp::now().after(Duration::from_secs(self.hours * 3600)));
        claims.channels = (!self.channels.is_empty()).then(|| self.channels.clone());
        println!("{}", signer.sign(&claims));
        Ok(())
    }
}
