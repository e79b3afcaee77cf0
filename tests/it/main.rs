//! The product, tested as its users meet it: the real program, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod cancel;
mod chat;
mod flows;
mod history;
mod http1;
mod http2;
mod idempotency;
mod images;
mod jobs;
mod limits;
mod ops;
mod presence;
mod refused_bodies;
mod refused_channels;
mod refused_identities;
mod refused_requests;
mod refused_sizes;
mod refused_texts;
mod session;
mod settings;
mod streams;
mod support;
mod tls;
mod typing;
