//! For those who operate the server: is it alive, is it ready, how is it doing. And the page for those who are new to it.

use std::time::Duration;

use actix_web::{HttpResponse, http::header, web::Data};
use serde_json::json;

use super::{State, error::ApiError};
use crate::{
    metrics::{self, Gauge, Value as _},
    realtime::registry::CountRooms,
    store::KindStats,
};

const PAGE: &str = include_str!("../../web/index.html");

/// Alive, whatever else may be wrong.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({"status": "ok"}))
}

/// Ready.
///
/// # Errors
/// What is wrong.
pub async fn readyz(state: Data<State>) -> Result<HttpResponse, ApiError> {
    let mut wrong = Vec::new();
    if state.is_draining() {
        wrong.push("the server is stopping".to_owned());
    }
    wrong.extend(state.store.check().await.err().map(|error| error.to_string()));
    wrong.extend(state.log.check().await.err().map(|error| error.to_string()));
    if !wrong.is_empty() {
        return Err(ApiError::unavailable("not_ready", wrong.join("; "), Duration::from_secs(2)));
    }
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({"status": "ready"})))
}

/// The metrics, in Prometheus' text format.
///
/// # Errors
/// Where the store can't be read.
pub async fn metrics(state: Data<State>) -> Result<HttpResponse, ApiError> {
    let (depth, kinds) = (state.store.depth().await?, state.store.queue_stats().await?);
    let rooms = state.registry.send(CountRooms).await.unwrap_or(0);
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        metrics::head(&mut text, name, help, Gauge::TYPE);
        metrics::sample(&mut text, name, "", value);
    };
    gauge("persona_streams", "Open event streams.", state.limits.open() as u64);
    gauge("persona_rooms", "Channels that somebody listens to.", rooms as u64);
    gauge("persona_jobs_waiting", "Jobs that wait for a worker or their time.", depth.waiting);
    gauge("persona_jobs_running", "Jobs that run.", depth.running);
    by_kind(&mut text, &kinds);
    for metric in state.metrics {
        metric.write(&mut text);
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text))
}

fn by_kind(text: &mut String, kinds: &[KindStats]) {
    let (jobs, oldest) = ("persona_queue_jobs", "persona_queue_oldest_seconds");
    metrics::head(text, jobs, "Jobs that wait or run, by kind and state.", Gauge::TYPE);
    for KindStats { kind, available, scheduled, retryable, running, .. } in kinds {
        for (state, count) in [("available", available), ("scheduled", scheduled), ("retryable", retryable), ("running", running)] {
            metrics::sample(text, jobs, &format!("kind=\"{kind}\",state=\"{state}\""), count);
        }
    }
    metrics::head(text, oldest, "How long the oldest available job has waited, by kind.", Gauge::TYPE);
    for KindStats { kind, oldest_ms, .. } in kinds {
        metrics::sample(text, oldest, &format!("kind=\"{kind}\""), *oldest_ms as f64 / 1000.0);
    }
}

/// The page that shows a newcomer all of it.
pub async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ))
        .body(PAGE)
}
