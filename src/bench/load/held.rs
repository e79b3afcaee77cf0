//! The load of `bench held`: streams over HTTP/2 that are opened and held, and nothing else. Refuses to be fast: what it costs
//! itself is nobody's figure.

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Client, Response};
use serde::{Deserialize, Serialize};

use super::{Done, stage};

/// So many connections are opened at once.
const OPENING: usize = 16;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where the server is, with its scheme.
    pub url: String,
    pub streams: usize,
    pub per_connection: usize,
}

/// Does the plan.
pub async fn run(plan: Plan) -> Result<()> {
    // Where one is installed already, it is this one.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let (mut token, mut held) = (String::new(), Vec::new());
    stage(async {
        token = sign_in(&plan).await?;
        Ok(Done {})
    })
    .await?;
    stage(async {
        let sizes = (0..plan.streams).step_by(plan.per_connection).map(|first| plan.per_connection.min(plan.streams - first));
        held = stream::iter(sizes).map(|count| connection(&plan, &token, count)).buffer_unordered(OPENING).try_collect::<Vec<_>>().await?;
        Ok(Done {})
    })
    .await?;
    stage(async {
        held.clear();
        Ok(Done {})
    })
    .await
}

fn client() -> Result<Client> {
    // The certificate is made on the spot, by a server that this program has started itself.
    Ok(Client::builder().http2_prior_knowledge().tls_danger_accept_invalid_certs(true).build()?)
}

async fn sign_in(plan: &Plan) -> Result<String> {
    #[derive(Deserialize)]
    struct Session {
        token: String,
    }
    let answer = client()?.post(format!("{}/api/session", plan.url)).send().await?.error_for_status()?;
    Ok(serde_json::from_slice::<Session>(&answer.bytes().await?)?.token)
}

/// One connection and its streams, all of which have begun.
async fn connection(plan: &Plan, token: &str, streams: usize) -> Result<(Client, Vec<Response>)> {
    let client = client()?;
    let mut held = Vec::with_capacity(streams);
    for _ in 0..streams {
        let asked = client.get(format!("{}/api/events?channel=channel:bench", plan.url)).bearer_auth(token);
        let mut response = asked.send().await?.error_for_status()?;
        let mut told = Vec::new();
        while !told.windows(12).any(|window| window == b"stream_ready") {
            told.extend_from_slice(&response.chunk().await?.context("a stream has ended")?);
            ensure!(told.len() < 64 * 1024, "a stream does not begin");
        }
        held.push(response);
    }
    Ok((client, held))
}
