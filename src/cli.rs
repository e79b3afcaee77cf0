//! The command line: what an operator can ask of the program.

mod health;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{config::Settings, server::Application};

/// A realtime chat-and-generation server: HTTP/2 in, Server-Sent Events out
#[derive(Debug, Parser)]
#[command(name = "persona", version, args_conflicts_with_subcommands = false)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the settings are right, and what they come to
    CheckConfig,
    /// Ask a running server whether it is alive; for a container's health check
    Health,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Where it can't be done; the message is for the operator.
    pub fn run(self) -> Result<()> {
        match self.command {
            None => serve(&self.settings),
            Some(Command::CheckConfig) => check_config(&self.settings),
            Some(Command::Health) => health::ask(&self.settings),
        }
    }
}

fn serve(settings: &Settings) -> Result<()> {
    let config = settings.read()?;
    env_logger::Builder::new().parse_filters(&settings.rust_log).format_target(false).init();
    actix::System::new().block_on(async {
        // Before anything else, so that no signal is missed.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let application = Application::start(&config).await?;
        welcome(&application.url())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping");
        application.stop().await;
        log::info!("stopped");
        Ok(())
    })
}

/// Says where it listens, and how to try it.
fn welcome(url: &str) -> Result<()> {
    let insecure = if url.starts_with("https") { "-k " } else { "" };
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {url}")?;
    writeln!(out, "\nOpen {url} in a browser, or try it from a shell:\n")?;
    writeln!(out, "  curl {insecure}-c persona.cookies -X POST {url}/api/session")?;
    writeln!(out, "  curl {insecure}-b persona.cookies -N '{url}/api/events?channel=channel:general' &")?;
    writeln!(
        out,
        "  curl {insecure}-b persona.cookies {url}/api/chat/messages -H 'Content-Type: application/json' -d '{{\"channel\":\"channel:general\",\"content\":\"What can you do?\"}}'\n"
    )?;
    out.flush().context("can't write to standard output")
}

fn check_config(settings: &Settings) -> Result<()> {
    let config = settings.read()?;
    println!("{config:#?}");
    Ok(())
}
