//! Persona Community: chat rooms with AI replies, texts and pictures on request, told over Server-Sent Events.
//!
//! # The way of the data
//! ```text
//! POST ─▶ api ─▶ store ─▶ 202                    in one transaction: message, job, event to tell
//!                  │
//!                  ├──▶ outbox ──▶ log ──▶ realtime: registry ─▶ room ─▶ host ─▶ connection ─▶ event stream
//!                  │      ▲         ▲
//!                queue    │ the end │ chunks, progress
//!                  ▼      │         │
//!                worker: poller ─▶ executor ─▶ providers, media
//! ```
//! What a request asks for is durable before it is answered. What is durable and is to be told waits in the store until the
//! [`outbox`] has brought it to the [`log`], which gives each event of a channel its place. From there the hub takes it to
//! every open stream, and from there it is read again by whoever comes back.
//!
//! # The modules, along that way
//! - The vocabulary, which knows nothing else: [`id`], [`timestamp`], [`model`], [`usage`], [`channel`], [`failure`],
//!   [`persona`], [`event`], [`job`], [`retry`], [`token`], [`wake`], [`metrics`].
//! - [`server`]: the composition root; sockets, TLS, start and stop. [`cli`] and [`config`] are what stands before it; `bench`
//!   measures it from outside, and [`check`] holds it to its delivery contract.
//! - [`api`]: the HTTP surface, one file a resource; its `mod.rs` has every route.
//! - [`store`]: what is durable, and all SQL: messages, the queue, the outbox.
//! - [`outbox`]: from the store to the log, once.
//! - [`log`]: places and order of events, and the recent ones of every channel.
//! - [`worker`]: takes jobs, does them, tells of them under a lease that can be lost.
//! - [`providers`]: who writes and paints; [`media`]: where pictures are kept.
//! - [`realtime`]: the hub; rooms, presence, typing, cursors, streams.
//!
//! # What is not there
//! `tests/it/architecture.rs` holds these:
//! - No WebSocket.
//! - No AI work in the service: `api` can't reach a provider.
//! - No SQL outside `store`, no status code outside `api`, no look at the environment outside `config`.
//! - No knowledge of the hub in `worker`, nor of the store in `realtime`: what happened reaches a stream only through the log.
//!
//! And these the tests of what the product does:
//! - No answer to a POST before what it asked for is durable.
//! - No silent gap: a stream that can't go on without one says so.
//! - No waiting for a reader: one that is too slow is closed, and resumes.
//! - No second terminal event of a job, and no job without one.

pub mod channel;
pub mod event;
pub mod failure;
pub mod id;
pub mod job;
pub mod metrics;
pub mod model;
pub mod persona;
pub mod retry;
pub mod timestamp;
pub mod token;
pub mod usage;
pub mod wake;

pub mod log;
pub mod media;
pub mod outbox;
pub mod providers;
pub mod store;

pub mod realtime;
pub mod worker;

pub mod api;
mod bench;
pub mod check;
pub mod cli;
pub mod config;
pub mod server;
