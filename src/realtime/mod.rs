//! The hub: from the event log to the browsers.
//!
//! ```text
//! log ──Publish──▶ RoomRegistry ─▶ Room ──Tell (one a thread)──▶ Host ─▶ Batch ──Deliver──▶ Connection ─▶ Outlet ─▶ browser
//!                                                                                               └▶ Behind ─┘  what is not taken
//! ```
//! [`registry`] routes, and alone creates and stops rooms; a [`room`] keeps order, presence and typing of one channel, and its
//! newest frames in a [`ring`]. A private channel has no room before something is told in it: until then it is [`idle`]. A
//! [`host`], one for each HTTP thread but on a thread of its own, holds that thread's [`connection`]s and, as [`audience`]s, who
//! of them is in which room, so that an event crosses a thread once, not once a reader. What all members of a room are told in
//! one turn is encoded once, as one piece ([`news`]), and goes to each through its [`outlet`]; what its reader does not take
//! waits in its backlog ([`behind`]). A [`watch`] tells what happens to the sockets of a thread, and to the [`peer`]s whom the
//! HTTP layer serves; a [`wheel`] has what is due later.
//!
//! Rooms and connections are actors without a mailbox, a task and a timer of their own: whoever holds them calls their
//! handlers, and their contexts carry what they ask for. What is pure stands apart: [`cursor`], [`frame`], [`presence`],
//! [`elsewhere`], [`idle`], [`index`], [`listeners`], [`people`], [`ring`], [`typing`], [`unrest`], [`wheel`]. The hub refuses to touch SQL: what
//! happened reaches it only through the log.

pub mod audience;
pub mod behind;
pub mod connection;
pub mod cursor;
pub mod elsewhere;
pub mod frame;
pub mod host;
pub mod idle;
pub mod index;
pub mod limits;
pub mod listeners;
pub mod metrics;
pub mod news;
pub mod outlet;
pub mod peer;
pub mod people;
pub mod presence;
pub mod registry;
pub mod ring;
pub mod room;
pub mod typing;
pub mod unrest;
pub mod watch;
pub mod wheel;

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
