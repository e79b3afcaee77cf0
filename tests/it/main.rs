//! The product, tested as its users meet it: the real program, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod architecture;
mod attendance;
mod bench;
mod browser;
mod cancel;
mod chat;
mod crash;
mod delivery;
mod delivery_check;
mod documentation;
mod flows;
mod history;
mod http1;
mod http2;
mod idempotency;
mod images;
mod jobs;
mod lifecycle;
mod limits;
mod migrations;
mod models;
mod ops;
mod personas;
mod presence;
mod providers;
mod redis_log;
mod refused_bodies;
mod refused_channels;
mod refused_identities;
mod refused_requests;
mod refused_sizes;
mod refused_texts;
mod replies;
mod session;
mod settings;
mod storage;
mod streams;
mod support;
mod tls;
mod typing;
mod usage;
mod vanished;
mod verifier;
