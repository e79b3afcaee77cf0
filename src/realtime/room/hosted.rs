//! The context of a room that lives in its registry: whom it can tell, and what it can ask for.

use std::{rc::Rc, time::Instant};

use actix::{ActorContext, ActorState};
use smallvec::SmallVec;

use crate::{
    log::{Position, elsewhere::Said},
    realtime::{
        Manners,
        audience::RoomKey,
        host::{HostId, Line},
    },
};

/// One call's context. Stopping, the room asks to be let go.
pub struct Hosted {
    state: ActorState,
    pub(in crate::realtime) room: RoomKey,
    pub(in crate::realtime) hosts: Rc<Vec<Option<Line>>>,
    pub(in crate::realtime) manners: Manners,
    pub(in crate::realtime) now: Instant,
    /// What the log is to be asked; until the [`Answer`] the room is called for nothing else.
    pub(in crate::realtime) question: Option<Question>,
    /// What other processes are to hear.
    pub(in crate::realtime) said: SmallVec<[Said; 1]>,
    /// Whether other processes are to be asked who is there.
    pub(in crate::realtime) asks_elsewhere: bool,
    /// When the room wants to be woken, if not before.
    pub(in crate::realtime) alarm: Option<Instant>,
}

/// What a room asks the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::realtime) enum Question {
    /// Its newest place.
    Head,
    /// All after this one.
    After(Position),
}

impl Hosted {
    pub(in crate::realtime) fn new(room: RoomKey, hosts: Rc<Vec<Option<Line>>>, manners: Manners, now: Instant) -> Self {
        Self { state: ActorState::Running, room, hosts, manners, now, question: None, said: SmallVec::new(), asks_elsewhere: false, alarm: None }
    }

    pub(super) fn host(&self, id: HostId) -> Option<&Line> {
        self.hosts.get(usize::from(id)).and_then(Option::as_ref)
    }
}

impl ActorContext for Hosted {
    fn stop(&mut self) {
        self.state = ActorState::Stopping;
    }

    fn terminate(&mut self) {
        self.state = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.state
    }
}
