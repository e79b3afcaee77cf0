//! The command line: what an operator can ask of the program.

mod jobs;
mod providers;
mod token;

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use log::LevelFilter;
use tokio::signal::unix::{SignalKind, signal};

use self::{jobs::Jobs, providers::Providers, token::Token};
use crate::{
    bench::Bench,
    check,
    config::{Part, Settings, Tls},
    server::{self, Application, tls},
};

/// A realtime chat-and-generation server: HTTP/2 in, Server-Sent Events out
///
/// Without a command it is service and worker in one process, and needs nothing else.
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
    /// Be the service alone: takes requests and tells events; any number beside workers, on one database and one Redis
    Serve,
    /// Be a worker alone: does the jobs; any number beside services, on one database and one Redis
    Work,
    /// Bring the database's tables up to date, and end
    Migrate,
    /// Sign the token of a user, and print it
    Token(Token),
    /// Say whether the settings are right, and what they come to
    CheckConfig,
    /// Ask a running server whether it is alive; for a container's health check
    Health,
    /// Ask about those who do the generating
    #[command(subcommand)]
    Providers(Providers),
    /// Hold running servers to the delivery contract: a crowd of clients that are cut and come back
    CheckDelivery(check::Options),
    /// Look after the jobs of a running server
    Jobs(Jobs),
    /// Measure how fast this program is on this machine
    #[command(subcommand)]
    Bench(Bench),
}

impl Cli {
    /// What the command line says; settings may stand before or behind a command.
    #[must_use]
    pub fn read() -> Self {
        let matches = Self::command().mut_args(|setting| setting.global(true)).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// Where it can't be done; the message is for the operator.
    pub fn run(self) -> Result<()> {
        match self.command {
            None => run(&self.settings, Part::Whole),
            Some(Command::Serve) => run(&self.settings, Part::Service),
            Some(Command::Work) => run(&self.settings, Part::Worker),
            Some(Command::Migrate) => migrate(&self.settings),
            Some(Command::Token(token)) => token.run(&self.settings),
            Some(Command::CheckConfig) => check_config(&self.settings),
            Some(Command::Health) => health(&self.settings),
            Some(Command::Providers(providers)) => providers.run(&self.settings),
            Some(Command::CheckDelivery(check)) => check.run(),
            Some(Command::Jobs(jobs)) => jobs.run(&self.settings),
            Some(Command::Bench(bench)) => bench.run(),
        }
    }
}

fn log_to_stderr(settings: &Settings) {
    // What clients do wrong actix would log as errors of its own.
    // What the HTTP server calls a worker is a thread, and no worker of ours.
    let mut builder = env_logger::Builder::new();
    builder.filter_module("actix_http", LevelFilter::Off).filter_module("actix_server", LevelFilter::Warn);
    builder.parse_filters(&settings.rust_log).format_target(false).init();
}

fn migrate(settings: &Settings) -> Result<()> {
    let config = settings.read()?;
    log_to_stderr(settings);
    actix::System::new().block_on(async {
        server::open_store(&config).await?.close().await;
        println!("the database is up to date");
        Ok(())
    })
}

fn run(settings: &Settings, part: Part) -> Result<()> {
    let begun = Instant::now();
    let config = settings.read_for(part)?;
    log_to_stderr(settings);
    actix::System::new().block_on(async {
        // Before anything else, so that no signal is missed.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let application = Application::start(&config).await?;
        log::info!("accepting connections after {} ms", begun.elapsed().as_millis());
        welcome(&application.url(), part)?;
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
fn welcome(url: &str, part: Part) -> Result<()> {
    let insecure = if url.starts_with("https") { "-k " } else { "" };
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {url}")?;
    if part == Part::Worker {
        return out.flush().context("can't write to standard output");
    }
    // Every address of this machine is none that a browser can open.
    let url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
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
    let config = settings.read()?;
    let address = config.service.reachable();
    let socket = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("nobody listens on {address}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut connection: Box<dyn Connection> = match config.service.tls {
        Tls::Off => Box::new(socket),
        Tls::Dev | Tls::Files { .. } => Box::new(tls::connect(socket)?),
    };
    connection.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut status = String::new();
    BufReader::new(connection).read_line(&mut status).with_context(|| format!("{address} doesn't answer"))?;
    anyhow::ensure!(status.contains(" 200 "), "{address} answers {status:?}");
    Ok(())
}

trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}
