//! What is heard of other processes beside events, and whom it is for: the room, or whoever asks and tells on its behalf.

use tokio::sync::mpsc;

use super::{message::Message, presence::Errand};
use crate::{
    channel::Channel,
    log::{
        Listener, News,
        elsewhere::{Heard, Instance},
    },
};

/// Passes on what other processes say.
pub struct Hearing {
    /// Tells this process from others.
    pub instance: Instance,
    pub listener: Listener,
    pub announcer: mpsc::UnboundedSender<Errand>,
}

impl Hearing {
    /// Takes what was published on a room's topic. What this process has said itself is no news.
    pub fn hear(&self, channel: &Channel, message: Message) {
        match message {
            Message::Changed { at, version, changes } if at != self.instance => self.tell(channel, Heard::Changed { at, version, changes }),
            Message::Typing { at, typing } if at != self.instance => self.tell(channel, Heard::Typing(typing)),
            Message::Written { at } if at != self.instance => self.send(Errand::Ask(channel.clone())),
            _ => {}
        }
    }

    /// Takes what Redis says of a room: which processes have somebody there.
    pub fn compare(&self, channel: &Channel, mut crowds: Vec<(Instance, u64)>) {
        let ours = crowds.iter().position(|(at, _)| *at == self.instance).map(|index| crowds.swap_remove(index).1);
        self.send(Errand::Known(channel.clone(), ours));
        self.tell(channel, Heard::Versions(crowds));
    }

    fn tell(&self, channel: &Channel, heard: Heard) {
        (self.listener)(News::Elsewhere(channel.clone(), heard));
    }

    fn send(&self, errand: Errand) {
        // The announcer lives on the subscriber's thread.
        let _ = self.announcer.send(errand);
    }
}
