//! How a room's news reach all its members on this thread.
//!
//! Members are told one after the other, and thousands of them take many milliseconds. What their room tells meanwhile goes to
//! those whose turn is yet to come together with the rest, and to the others after that: so nobody is written to more than twice,
//! however much comes.

use std::{ops::Range, time::Instant};

use actix::prelude::*;

use super::{
    Host,
    line::{FromRegistry, Look},
};
use crate::realtime::{
    audience::RoomKey,
    connection::{Deliver, Hosted},
    frame::PIECE,
    news::{Batch, Made, News},
};

/// A room has something to tell to its members on this thread.
pub(in crate::realtime) struct Tell {
    pub room: RoomKey,
    pub news: News,
}

/// What is to be told at the end of this turn, room by room.
pub(super) type Told = Vec<(RoomKey, Vec<News>)>;

/// In so many strides are all members told, and after each it is looked whether more has come; a stride has so many members at least.
const STRIDES: usize = 16;
const STRIDE: usize = 64;

/// Those who stopped, while they are still members.
type Stopped = Vec<(u32, Hosted)>;

impl Host {
    fn put_by(&mut self, Tell { room, news }: Tell) {
        let Some(audience) = self.audiences.of_room(room).and_then(|index| self.audiences.get_mut(index)) else { return };
        match self.told.get_mut(audience.told_at as usize) {
            Some((_, gathered)) => gathered.push(news),
            None => {
                audience.told_at = self.told.len() as u32;
                self.told.push((room, vec![news]));
            }
        }
    }

    /// Tells every member of a room what has gathered, and nothing that comes later.
    pub(super) fn flush(&mut self, room: RoomKey) {
        let Some(index) = self.audiences.of_room(room) else { return };
        let told_at = self.audiences.get(index).map_or(u32::MAX, |audience| audience.told_at);
        let Some((_, news)) = self.told.get_mut(told_at as usize) else { return };
        let news = std::mem::take(news);
        for batch in batches(&news) {
            self.tell_all(index, batch);
        }
    }

    /// Tells what has gathered in all rooms.
    fn flush_all(&mut self) {
        for (at, (room, news)) in (0..).zip(std::mem::take(&mut self.told)) {
            let Some(index) = self.audiences.of_room(room) else { continue };
            // All who were to be told may be gone, and others come who know it.
            let Some(audience) = self.audiences.get_mut(index).filter(|audience| audience.told_at == at) else { continue };
            audience.told_at = u32::MAX;
            let mut batches = batches(&news).collect::<Vec<_>>();
            // A newcomer may have had it told already.
            let Some(last) = batches.pop() else { continue };
            for batch in batches {
                self.tell_all(index, batch);
            }
            self.tell_growing(index, room, last.to_vec());
        }
    }

    fn tell_all(&mut self, index: usize, news: &[News]) {
        let (members, mut stopped) = (self.members(index), Stopped::new());
        self.tell(index, 0..members, news, None, &mut stopped);
        self.advance(index, news);
        self.after_telling(stopped);
    }

    /// Tells all members, and what comes meanwhile with the rest.
    fn tell_growing(&mut self, index: usize, room: RoomKey, mut news: Vec<News>) {
        let (members, mut stopped) = (self.members(index), Stopped::new());
        // Up to which member so much had been told when more came.
        let mut steps: Vec<(usize, usize)> = Vec::new();
        let (mut at, mut made) = (0, None);
        let stride = (members / STRIDES).max(STRIDE);
        while at < members {
            let end = (at + stride).min(members);
            made = self.tell(index, at..end, &news, made, &mut stopped);
            let told = news.len();
            if end < members && self.queue.take_more(room, &mut news) {
                steps.push((end, told));
                made = None;
            }
            at = end;
        }
        let (mut begin, mut head) = (0, 0);
        for (end, told) in steps {
            self.advance(index, &news[head..told]);
            self.tell(index, begin..end, &news[told..], None, &mut stopped);
            (begin, head) = (end, told);
        }
        self.advance(index, &news[head..]);
        self.after_telling(stopped);
    }

    fn members(&self, index: usize) -> usize {
        self.audiences.get(index).map_or(0, |audience| audience.members().len())
    }

    fn advance(&mut self, index: usize, news: &[News]) {
        if let Some(audience) = self.audiences.get_mut(index) {
            audience.advance(news);
        }
    }

    fn after_telling(&mut self, stopped: Stopped) {
        for (seat, hosted) in stopped {
            self.after_call(seat, &hosted);
        }
    }

    /// Tells these members, all of whom have been told what was before `news`.
    fn tell(&mut self, index: usize, members: Range<usize>, news: &[News], made: Option<Made>, stopped: &mut Stopped) -> Option<Made> {
        let Self { audiences, connections, .. } = self;
        let members = audiences.get(index)?.members().get(members)?;
        let (mut batch, now) = (Batch::new(news, made), self.wheel.tick(Instant::now()));
        for member in members {
            let Some(connection) = connections.get_mut(member.seat as usize) else { continue };
            if !stopped.is_empty() && stopped.iter().any(|(seat, _)| *seat == member.seat) {
                continue;
            }
            let mut hosted = Hosted::running(now);
            connection.handle(Deliver { slot: member.slot.into(), batch: &mut batch, audiences }, &mut hosted);
            if !hosted.state().alive() {
                stopped.push((member.seat, hosted));
            }
        }
        batch.into_made()
    }
}

/// What is told together: so much that it is worth a write, and no more than a reader can hold.
fn batches(news: &[News]) -> impl Iterator<Item = &[News]> {
    let mut size = 0;
    news.chunk_by(move |before, next| {
        size += before.size();
        let together = size + next.size() <= PIECE;
        size = if together { size } else { 0 };
        together
    })
}

impl Handler<Look> for Host {
    type Result = ();

    fn handle(&mut self, _: Look, _: &mut Context<Self>) {
        for said in self.queue.take() {
            match said {
                FromRegistry::Tell(tell) => self.put_by(tell),
                FromRegistry::Joined(joined) => self.admit(*joined),
                FromRegistry::Wait(wait) => self.let_wait(wait),
                FromRegistry::Rouse(rouse) => self.rouse(rouse),
            }
        }
        self.flush_all();
    }
}
