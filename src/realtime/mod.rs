//! The hub: from the event log to the browsers.
//!
//! ```text
//! log ──Publish──▶ RoomRegistry ──▶ Room ──Fanout (one a thread)──▶ Host ──Deliver──▶ Connection ──▶ Outlet ──▶ browser
//! ```
//! [`registry`] routes and alone creates and stops rooms; a [`room`] keeps order, presence and typing of one channel; a
//! [`host`] stands on each HTTP thread and holds that thread's [`connection`]s, so that an event crosses a thread once, not
//! once a reader. What is pure stands apart: [`cursor`], [`frame`], [`presence`], [`typing`]. The hub refuses to touch SQL:
//! what happened reaches it only through the log.

pub mod connection;
pub mod cursor;
pub mod frame;
pub mod host;
pub mod limits;
pub mod outlet;
pub mod peer;
pub mod presence;
pub mod registry;
pub mod room;
pub mod typing;

use std::time::Duration;

/// How the hub behaves; all are settings.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long a user may be away before the room is told that they left.
    pub presence_grace: Duration,
    /// How long typing lasts.
    pub typing_lasts: Duration,
    /// A stream that was silent for so long gets a ping.
    pub ping_after: Duration,
    /// A stream that is so old is asked to come back anew; jittered by a quarter.
    pub stream_lifetime: Duration,
}

/// Ends the process if the actor that holds it panics: a hub without its registry or a room would look alive and be deaf.
#[derive(Debug)]
struct Vital(&'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("the {} has panicked; ending the process", self.0);
            std::process::abort();
        }
    }
}
