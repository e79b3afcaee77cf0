//! Who is in a room and who types there, here and at other processes: what the room tells of it, none of it logged.

use actix::{ActorContext as _, Handler};
use bytes::Bytes;

use super::{Hear, Hosted, LINGER, Room, SetTyping};
use crate::{
    event::{Event, Fact, Presence},
    id::UserId,
    log::elsewhere::{Heard, Said, Typing},
    realtime::{frame, news::News, presence::Attendance, registry::TooSoon, typing::Typists},
};

impl Room {
    /// Tells an event that is not logged.
    fn show(&self, fact: Fact, ctx: &Hosted) {
        let event = Event::now(self.channel.clone(), fact);
        self.tell(&News::Show(frame::data(event.to_json().as_bytes())), ctx);
    }

    /// Who is there; nobody yet, where nobody has been.
    pub(super) fn attendance(&mut self) -> &mut Attendance {
        self.attendance.get_or_insert_default()
    }

    /// Tells what presence and typing owe by now, lets go of what is too old, and says when it wants to be woken for more.
    pub(super) fn attend(&mut self, ctx: &mut Hosted) {
        let now = ctx.now;
        if let Some(attendance) = &mut self.attendance {
            ctx.said.extend(attendance.say(now));
        }
        for presence in self.attendance.as_mut().map(|attendance| attendance.due(now)).unwrap_or_default() {
            self.show(Fact::Presence(presence), ctx);
        }
        for user_id in self.typists.as_mut().map(|typists| typists.ended(now)).unwrap_or_default() {
            self.show(Fact::Typing { user_id, is_typing: false }, ctx);
        }
        self.typists.take_if(|typists| typists.next_end().is_none());
        self.attendance.take_if(|attendance| attendance.is_empty());
        let retire = self.hosts.is_empty().then_some(self.empty_since + LINGER);
        let is_left = self.attendance.as_ref().is_none_or(|attendance| attendance.is_left());
        if is_left && retire.is_some_and(|retire| now >= retire) {
            return ctx.stop();
        }
        let presence = self.attendance.as_ref().and_then(|attendance| attendance.next_due());
        let typing = self.typists.as_ref().and_then(|typists| typists.next_end());
        let trim = self.ring.as_mut().and_then(|ring| ring.trim(now));
        ctx.alarm = [presence, typing, trim, retire].into_iter().flatten().min();
    }

    /// What a newcomer is shown first: who is there.
    pub(super) fn greeting(&mut self) -> Option<Bytes> {
        let channel = &self.channel;
        self.attendance.as_mut().map(|attendance| {
            attendance.greeting(|snapshot| {
                let event = Event::now(channel.clone(), Fact::Presence(snapshot));
                frame::data(event.to_json().as_bytes())
            })
        })
    }

    /// Who is in the room, as it was told.
    pub(in crate::realtime) fn who_is_there(&self) -> Option<Presence> {
        self.attendance.as_ref().map(|attendance| attendance.snapshot())
    }

    /// Whether the room is told that this user types, or no longer does.
    fn types(&mut self, user: &UserId, is_typing: bool, ctx: &mut Hosted) -> bool {
        let lasts = ctx.manners.typing_lasts;
        let is_news = self.typists.get_or_insert_with(|| Box::new(Typists::new(lasts))).set(user, is_typing, ctx.now);
        if is_news {
            self.show(Fact::Typing { user_id: user.clone(), is_typing }, ctx);
        }
        is_news
    }
}

impl Handler<SetTyping> for Room {
    type Result = Result<(), TooSoon>;

    fn handle(&mut self, SetTyping { user, is_typing, .. }: SetTyping, ctx: &mut Hosted) -> Self::Result {
        if self.types(&user, is_typing, ctx) {
            ctx.said.push(Said::Typing(Typing { user_id: user, is_typing }));
        }
        self.attend(ctx);
        Ok(())
    }
}

impl Handler<Hear> for Room {
    type Result = ();

    fn handle(&mut self, Hear(_, heard): Hear, ctx: &mut Hosted) {
        match heard {
            Heard::Typing(Typing { user_id, is_typing }) => drop(self.types(&user_id, is_typing, ctx)),
            Heard::TellEverybody => {
                let nobody = || Said::Everybody(Vec::new());
                ctx.said.push(self.attendance.as_mut().map_or_else(nobody, |attendance| attendance.say_everybody(ctx.now)));
            }
            // Where nobody here has been, nobody is told.
            heard => ctx.asks_elsewhere |= self.attendance.as_mut().is_some_and(|attendance| attendance.hear(heard, ctx.now)),
        }
        self.attend(ctx);
    }
}
