//! The load of `bench providers`: many texts that stream at once, each token of which says when it was sent.
//!
//! They are read in one of three ways: by a bare loop over reqwest, which is the limit; by the product's own reader of
//! providers; or at the end of the whole way, from the product's event streams. Refuses figures of texts that are not all
//! there.

mod reader;
mod tally;

use std::{net::SocketAddr, rc::Rc};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

pub use self::tally::Measured;
use self::{
    reader::Reader,
    tally::{Tally, Text},
};
use super::{Done, stage};

/// How the texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A loop over reqwest that looks for nothing but the tokens.
    Bare,
    /// What the worker reads providers with.
    Provider,
    /// The product's event streams.
    Server,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    pub way: Way,
    /// The provider, or the server that asks it.
    pub address: SocketAddr,
    /// Texts at once.
    pub streams: usize,
    /// Tokens of each.
    pub tokens: u32,
    /// Texts of one token, one after the other, with nothing else to do.
    pub alone: usize,
}

/// Does the plan, in four stages: ready; one text after the other; all begun; all read.
pub async fn run(plan: Plan) -> Result<()> {
    let reader = Rc::new(Reader::new(plan).await?);
    stage(async { Ok(Done {}) }).await?;
    stage(async {
        let alone = Tally::new(plan.alone);
        for _ in 0..plan.alone {
            reader.read(0, &alone, 1).await?;
        }
        Ok(alone.first())
    })
    .await?;
    let tally = Rc::new(Tally::new(plan.streams));
    // On tasks of their own: they are read while the parent looks.
    let mut texts: JoinSet<Result<Text>> = JoinSet::new();
    stage(async {
        for index in 0..plan.streams {
            let (reader, tally) = (reader.clone(), tally.clone());
            texts.spawn_local(async move { reader.read(index, &tally, plan.tokens).await });
        }
        tokio::select! {
            ended = texts.join_next() => match ended {
                Some(Ok(Err(error))) => Err(error),
                _ => bail!("a text has ended before all had begun: more tokens are needed"),
            },
            () = tally.all_begun() => Ok(tally.first()),
        }
    })
    .await?;
    stage(async {
        let mut whole = 0;
        while let Some(text) = texts.join_next().await {
            whole += usize::from(text??.tokens == plan.tokens);
        }
        ensure!(whole == plan.streams, "only {whole} of {} texts are whole", plan.streams);
        Ok(tally.later())
    })
    .await
}
