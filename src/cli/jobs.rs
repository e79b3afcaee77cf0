//! `persona jobs`: the queue under an operator's hand.
//!
//! It asks a running server, with the administrator's token, and never the database itself: an embedded database is its
//! server's alone, and only a server can tell those who listen that a job was cancelled, or wake a worker for one that is to
//! be tried again. So there is one way, and it is the one that docs/admin.md describes.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::config::{Settings, Tls};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, and of whom.
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(subcommand)]
    what: What,
    /// Where the server is [default: where the settings say that it listens]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Print what the server answers, as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List jobs, newest first; those that live, unless a state is given
    List {
        /// available, scheduled, running, retryable, completed, cancelled or discarded
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        kind: Option<String>,
        /// Whose jobs
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// Only jobs older than this one
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
    },
    /// Show a job with the history of its failures
    Show { id: String },
    /// Try a job again now that waits, or was cancelled or given up
    Retry { id: String },
    /// Stop a job that waits or runs
    Cancel { id: String },
    /// Give up a job that waits
    Discard { id: String },
    /// Begin no more jobs of a kind; what runs runs on
    Pause { kind: String },
    /// Begin jobs of a kind again
    Resume { kind: String },
    /// Set how many jobs may run at once, all workers together
    Limit {
        /// user (each of them), kind:KIND or provider:NAME
        scope: String,
        /// A number, or `none`
        most: String,
    },
    /// Say how many jobs there are, by kind and state
    Stats,
}

/// What is asked of the server.
struct Question {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Jobs {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// Where there is no token, the server doesn't answer, or refuses.
    pub fn run(&self, settings: &Settings) -> Result<()> {
        let config = settings.read()?;
        let token = settings.admin_token().context("set PERSONA_ADMIN_TOKEN to the token that the server was started with")?;
        let own = config.service.reachable();
        let scheme = if matches!(config.service.tls, Tls::Off) { "http" } else { "https" };
        let url = self.url.clone().unwrap_or_else(|| format!("{scheme}://{own}"));
        // Where one is installed already, it is this one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        // Where it is asked at the address it listens on, its certificate is for another name.
        let client = Client::builder().timeout(PATIENCE).tls_danger_accept_invalid_certs(self.url.is_none());
        let question = self.what.question()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(ask(client.build()?, url.trim_end_matches('/'), token, question))?;
        if self.json {
            println!("{answer}");
        } else {
            print!("{}", self.what.show(&answer));
        }
        Ok(())
    }
}

async fn ask(client: Client, url: &str, token: &str, question: Question) -> Result<Value> {
    let Question { method, path, body } = question;
    let mut request = client.request(method, format!("{url}{path}")).bearer_auth(token);
    if let Some(body) = &body {
        request = request.json(body);
    }
    let answer = request.send().await.with_context(|| format!("{url} doesn't answer"))?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("{url} breaks off"))?;
    if body.is_empty() && status.is_success() {
        return Ok(json!({}));
    }
    let answer: Value = serde_json::from_slice(&body).with_context(|| format!("{url} answers {status} and no JSON"))?;
    if !status.is_success() {
        bail!("{} ({})", answer["detail"].as_str().unwrap_or("the server refuses"), answer["code"].as_str().unwrap_or(status.as_str()));
    }
    Ok(answer)
}

impl What {
    fn question(&self) -> Result<Question> {
        let question = |method, path: String| Question { method, path, body: None };
        Ok(match self {
            Self::List { state, kind, user, before, limit } => {
                let mut path = format!("/api/admin/jobs?limit={limit}");
                for (name, value) in [("state", state), ("kind", kind), ("user", user), ("before", before)] {
                    if let Some(value) = value {
                        let _ = write!(path, "&{name}={}", segment(value));
                    }
                }
                question(Method::GET, path)
            }
            Self::Show { id } => question(Method::GET, format!("/api/admin/jobs/{}", segment(id))),
            Self::Retry { id } => question(Method::POST, format!("/api/admin/jobs/{}/retry", segment(id))),
            Self::Cancel { id } => question(Method::POST, format!("/api/admin/jobs/{}/cancel", segment(id))),
            Self::Discard { id } => question(Method::POST, format!("/api/admin/jobs/{}/discard", segment(id))),
            Self::Pause { kind } | Self::Resume { kind } => Question {
                method: Method::PUT,
                path: format!("/api/admin/queue/kinds/{}", segment(kind)),
                body: Some(json!({"paused": matches!(self, Self::Pause { .. })})),
            },
            Self::Limit { scope, most } => {
                let path = format!("/api/admin/queue/limits/{}", segment(scope));
                match most.as_str() {
                    "none" => question(Method::DELETE, path),
                    number => {
                        let most: u32 = number.parse().context("a limit is a number, or none")?;
                        Question { method: Method::PUT, path, body: Some(json!({"most": most})) }
                    }
                }
            }
            Self::Stats => question(Method::GET, "/api/admin/queue".into()),
        })
    }

    fn show(&self, answer: &Value) -> String {
        match self {
            Self::List { .. } => list(answer),
            Self::Show { .. } => show(answer),
            Self::Stats => stats(answer),
            Self::Retry { id } => format!("{id} is available\n"),
            Self::Cancel { id } => format!("{id} is being stopped\n"),
            Self::Discard { id } => format!("{id} is given up\n"),
            Self::Pause { kind } => format!("{kind} is paused\n"),
            Self::Resume { kind } => format!("{kind} goes on\n"),
            Self::Limit { scope, most } => format!("{scope}: {most}\n"),
        }
    }
}

/// A value as a part of a path or query.
fn segment(text: &str) -> impl std::fmt::Display {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "-".into() } else { value.to_string() }, str::to_owned)
}

/// Rows under a head, each column as wide as it must be.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut table = String::new();
    let head = head.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
    }
    table
}

fn list(answer: &Value) -> String {
    let fields = ["jobId", "kind", "state", "userId", "attempt", "createdAt", "error"];
    let row = |job: &Value| fields.iter().map(|field| text(&job[*field])).collect();
    let rows: Vec<Vec<String>> = answer["jobs"].as_array().into_iter().flatten().map(row).collect();
    let mut shown = table(&["ID", "KIND", "STATE", "USER", "ATTEMPT", "CREATED", "ERROR"], &rows);
    if let Some(before) = answer["nextBefore"].as_str() {
        let _ = writeln!(shown, "\nThere are more: --before {before}");
    }
    shown
}

fn show(job: &Value) -> String {
    let mut shown = String::new();
    for (name, value) in job.as_object().into_iter().flatten().filter(|(name, _)| *name != "failures") {
        let _ = writeln!(shown, "{name}: {}", text(value));
    }
    let row = |failure: &Value| {
        let error = if failure["crash"] == true { format!("{} (crash)", text(&failure["error"])) } else { text(&failure["error"]) };
        vec![text(&failure["at"]), text(&failure["attempt"]), error]
    };
    let failures: Vec<Vec<String>> = job["failures"].as_array().into_iter().flatten().map(row).collect();
    if !failures.is_empty() {
        let _ = write!(shown, "\n{}", table(&["FAILED AT", "ATTEMPT", "ERROR"], &failures));
    }
    shown
}

fn stats(answer: &Value) -> String {
    let row = |kind: &Value| {
        let oldest = kind["oldestMs"].as_u64().map_or("-".into(), |millis| format!("{:.1} s", millis as f64 / 1000.0));
        let counts = ["available", "scheduled", "retryable", "running"].iter().map(|state| text(&kind[*state]));
        let paused = if kind["paused"] == true { "paused" } else { "" };
        std::iter::once(text(&kind["kind"])).chain(counts).chain([oldest, paused.to_owned()]).collect()
    };
    let rows: Vec<Vec<String>> = answer["kinds"].as_array().into_iter().flatten().map(row).collect();
    let mut shown = table(&["KIND", "AVAILABLE", "SCHEDULED", "RETRYABLE", "RUNNING", "OLDEST WAITS", ""], &rows);
    let limits: Vec<Vec<String>> =
        answer["limits"].as_array().into_iter().flatten().map(|limit| vec![text(&limit["scope"]), text(&limit["most"])]).collect();
    if !limits.is_empty() {
        let _ = write!(shown, "\n{}", table(&["LIMIT", "AT MOST"], &limits));
    }
    shown
}
