//! The HTTP surface: one file a resource, and the whole route table below, on one screen.
//!
//! The service is thin: it validates, stores, and answers. Refuses to do AI work, and to touch SQL or the wire.

mod admin;
mod allowance;
mod body;
pub mod cast;
mod chat;
pub mod error;
pub mod events;
mod generate;
mod history;
mod idempotency;
mod identity;
mod jobs;
mod media;
mod models;
mod ops;
mod personas;
mod presence;
mod queue;
mod session;
mod usage;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::Addr;
use actix_web::{
    Resource,
    guard::{self, Guard},
    web::{self, ServiceConfig},
};

use self::{cast::Casts, error::ApiError};
use crate::{
    log::EventLog,
    media::MediaStore,
    metrics::{Exposed, Histogram, Metric},
    model::{AllowList, KnownModels},
    outbox::Outbox,
    realtime::{limits::StreamLimits, registry::RoomRegistry},
    store::{Accepted, Request, Store, StoreError},
    token::{AdminToken, Signer},
    usage::DailyLimits,
    wake::Wakeups,
};

/// From asked to durable.
pub static ACCEPTED: Metric<Histogram> = Metric::new("persona_accept_seconds", "How long messages and jobs that were asked for took to be durable.");

/// What handlers work with.
pub struct State {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn EventLog>,
    pub outbox: Outbox,
    pub registry: Addr<RoomRegistry>,
    pub limits: Arc<StreamLimits>,
    pub wakeups: Wakeups,
    pub media: MediaStore,
    /// What `/metrics` writes beside what it reads off the store and the hub.
    pub metrics: &'static [&'static dyn Exposed],
    pub signer: Signer,
    /// Nothing: nobody administers.
    pub admin: Option<AdminToken>,
    pub casts: Casts,
    pub models: AllowList,
    pub known_models: KnownModels,
    pub daily_limits: DailyLimits,
    pub session_lasts: Duration,
    pub stream_lifetime: Duration,
    pub max_jobs_per_user: usize,
    /// How long a body may take to come.
    pub request_within: Duration,
    pub draining: AtomicBool,
}

impl State {
    /// Whether the server is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Has the store take what was asked for; it is durable when this returns.
    ///
    /// # Errors
    /// Where the store can't.
    async fn accept(&self, asked: Request) -> Result<Accepted, StoreError> {
        let began = Instant::now();
        let accepted = self.store.accept(asked).await?;
        ACCEPTED.observe(began.elapsed());
        Ok(accepted)
    }
}

/// Every path there is.
#[rustfmt::skip]
pub fn routes(config: &mut ServiceConfig) {
    let (get, post, put, delete) = (|| web::route().guard(reads()), web::post, web::put, web::delete);
    config
        .configure(operating_routes)
        .service(at("/",                   "GET, HEAD").route(get().to(ops::page)))
        .service(at("/media/{name}",       "GET, HEAD").route(get().to(media::show)))
        .service(at("/api/session",        "GET, HEAD, POST, DELETE").route(get().to(session::show)).route(post().to(session::create)).route(delete().to(session::delete)))
        .service(at(events::PATH,          "GET").route(web::get().to(events::stream)))
        .service(at("/api/chat/messages",  "GET, HEAD, POST").route(get().to(history::show)).route(post().to(chat::post)))
        .service(at("/api/chat/typing",    "POST").route(post().to(chat::typing)))
        .service(at("/api/presence",       "GET, HEAD").route(get().to(presence::show)))
        .service(at("/api/generate/text",  "POST").route(post().to(generate::text)))
        .service(at("/api/generate/image", "POST").route(post().to(generate::image)))
        .service(at("/api/models",         "GET, HEAD").route(get().to(models::list)))
        .service(at("/api/usage",          "GET, HEAD").route(get().to(usage::show)))
        .service(at("/api/jobs",           "GET, HEAD").route(get().to(jobs::list)))
        .service(at("/api/jobs/{id}",      "GET, HEAD, DELETE").route(get().to(jobs::show)).route(delete().to(jobs::stop)))
        .service(at("/api/personas",       "GET, HEAD").route(get().to(personas::list)))
        .service(at("/api/personas/{id}",  "GET, HEAD, PUT, DELETE").route(get().to(personas::show)).route(put().to(personas::put)).route(delete().to(personas::delete)))
        .service(at("/api/admin/jobs",     "GET, HEAD").route(get().to(queue::list)))
        .service(at("/api/admin/jobs/{id}",              "GET, HEAD").route(get().to(queue::show)))
        .service(at("/api/admin/jobs/{id}/retry",        "POST").route(post().to(queue::retry)))
        .service(at("/api/admin/jobs/{id}/cancel",       "POST").route(post().to(queue::cancel)))
        .service(at("/api/admin/jobs/{id}/discard",      "POST").route(post().to(queue::discard)))
        .service(at("/api/admin/queue",    "GET, HEAD").route(get().to(queue::stats)))
        .service(at("/api/admin/queue/kinds/{kind}",     "PUT").route(put().to(queue::pause)))
        .service(at("/api/admin/queue/limits/{scope}",   "PUT, DELETE").route(put().to(queue::limit)).route(delete().to(queue::lift)));
}

/// How the process is: all that a worker says.
#[rustfmt::skip]
pub fn operating_routes(config: &mut ServiceConfig) {
    let get = || web::route().guard(reads());
    config
        .service(at("/healthz",            "GET, HEAD").route(get().to(ops::healthz)))
        .service(at("/readyz",             "GET, HEAD").route(get().to(ops::readyz)))
        .service(at("/metrics",            "GET, HEAD").route(get().to(ops::metrics)))
        .default_service(web::to(async || Err::<&str, _>(ApiError::not_found())));
}

/// A path that answers every other method with what it allows.
fn at(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || std::future::ready(Err::<&str, _>(ApiError::method_not_allowed(allow)))))
}

fn reads() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}
