//! The command line: what an operator can ask of the program.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{bench::Bench, config::Settings, server::Application};

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
    /// Measure how fast this program is on this machine
    #[command(subcommand)]
    Bench(Bench),
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
            Some(Command::Health) => health(&self.settings),
            Some(Command::Bench(bench)) => bench.run(),
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

/// Exits with an error unless the server that these settings describe answers `GET /healthz`.
fn health(settings: &Settings) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut address = settings.read()?.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("nobody listens on {address}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200 "), "{address} answers {status:?}");
    Ok(())
}
