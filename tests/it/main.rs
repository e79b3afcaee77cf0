//! The product, tested as its users meet it: the real program, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod architecture;
mod crash;
mod delivery;
mod documentation;
mod flows;
mod history;
mod idempotency;
mod images;
mod jobs;
mod lifecycle;
mod presence;
mod refused_bodies;
mod refused_channels;
mod refused_identities;
mod refused_requests;
mod refused_texts;
mod session;
mod storage;
mod support;
mod typing;
mod vanished;
