//! The line from the registry to a host: a queue that the host looks into also while it is telling, so that whoever has yet to
//! be told gets what has come meanwhile in the same write.
//!
//! All that must stay in order goes this way, and one message wakes the host for all of it. Refuses to change the order of
//! what concerns one room.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix::{Addr, Message};

use super::{Host, Joined, Rouse, Tell, Wait};
use crate::realtime::{
    audience::RoomKey,
    frame::PIECE,
    news::{self, News},
};

/// So many of those that wait are looked at, where one room's are sought.
const LOOKED_AT: usize = 256;

/// What the registry and its rooms say to a host.
pub(in crate::realtime) enum FromRegistry {
    Tell(Tell),
    Joined(Box<Joined>),
    Wait(Wait),
    Rouse(Rouse),
}

/// Something is in the queue.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Look;

/// The registry's end.
#[derive(Clone)]
pub(in crate::realtime) struct Line {
    host: Addr<Host>,
    queue: Queue,
}

/// What is on its way.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<VecDeque<FromRegistry>>>);

impl Line {
    pub(super) fn new(host: Addr<Host>, queue: Queue) -> Self {
        Self { host, queue }
    }

    /// Says something to the host.
    pub(in crate::realtime) fn send(&self, said: FromRegistry) {
        let mut queue = self.queue.lock();
        let is_first = queue.is_empty();
        queue.push_back(said);
        drop(queue);
        if is_first {
            self.host.do_send(Look);
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<FromRegistry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that has come.
    pub(super) fn take(&self) -> VecDeque<FromRegistry> {
        std::mem::take(&mut *self.lock())
    }

    /// Takes out what `room` has told since, as far as it leaves in one piece with `news`, and nobody joins before it.
    pub(super) fn take_more(&self, room: RoomKey, news: &mut Vec<News>) -> bool {
        let mut queue = self.lock();
        if queue.is_empty() {
            return false;
        }
        let (before, mut size) = (news.len(), news::size(news));
        let mut index = 0;
        while let Some(FromRegistry::Tell(tell)) = queue.get(index).filter(|_| index < LOOKED_AT) {
            if tell.room != room {
                index += 1;
                continue;
            }
            size += tell.news.size();
            if size > PIECE {
                break;
            }
            let Some(FromRegistry::Tell(Tell { news: more, .. })) = queue.remove(index) else { break };
            news.push(more);
        }
        news.len() > before
    }
}
