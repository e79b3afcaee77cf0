//! `persona providers`: what an operator can ask about those who do the generating.

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    config::Settings,
    providers::check::{self, Checked},
};

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Providers {
    /// Try every provider and model of the routes with a few tokens, and say what works, how fast, and what is wrong
    Check(Options),
}

#[derive(Debug, Args)]
pub struct Options {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    works: bool,
    targets: Vec<Checked>,
}

impl Providers {
    /// Does what was asked.
    ///
    /// # Errors
    /// Where a target does not work.
    pub fn run(self, settings: &Settings) -> Result<()> {
        let Self::Check(Options { json }) = self;
        let config = settings.read()?;
        // What goes wrong is what this command tells.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let targets = runtime.block_on(check::check(&config.providers))?;
        let report = Report { works: targets.iter().all(|target| target.works), targets };
        if json {
            println!("{}", serde_json::to_string(&report)?);
        } else if report.targets.is_empty() {
            println!("no provider has a key: the built-in offline provider serves");
        } else {
            report.targets.iter().for_each(tell);
        }
        let failing = report.targets.iter().filter(|target| !target.works).count();
        ensure!(report.works, "{failing} of {} targets do not work", report.targets.len());
        Ok(())
    }
}

fn tell(checked: &Checked) {
    let verdict = if checked.works { "works" } else { "FAILS" };
    println!("{verdict}  {}  for {}", checked.target, checked.serves.join(", "));
    let first = checked.first_token_ms.map(|first| format!("first word after {first} ms, ")).unwrap_or_default();
    let usage = checked.usage.map(|usage| format!(", {} + {} tokens", usage.input_tokens, usage.output_tokens)).unwrap_or_default();
    let model = checked.model.as_deref().filter(|model| !checked.target.ends_with(model)).map(|model| format!(", by {model}")).unwrap_or_default();
    println!("       {first}all after {} ms{usage}{model}", checked.total_ms);
    for line in [&checked.detail, &checked.advice].into_iter().flatten() {
        println!("       {line}");
    }
    if let Some(id) = &checked.request_id {
        println!("       the provider calls this request {id}");
    }
}
