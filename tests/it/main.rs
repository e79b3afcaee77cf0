//! The product, tested as its users meet it: the real program, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod architecture;
mod crash;
mod delivery;
mod documentation;
mod flows;
mod lifecycle;
mod presence;
mod support;
mod vanished;
