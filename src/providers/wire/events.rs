//! The events of a provider's stream, each waited for only so long.

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Caller, Reply,
    event_stream::{Decoder, Item},
};
use crate::providers::{Fault, ProviderError};

/// A stream that is being read.
pub struct Events {
    caller: Caller,
    reply: Reply,
    decoder: Decoder,
    waiting: VecDeque<Item>,
    ended: bool,
    /// No event has come yet.
    first: bool,
    begun: Instant,
}

/// An event's name, empty where it has none, and its data.
pub type Event = (String, String);

impl Events {
    /// The events in `reply`, of a request that was begun at `begun`.
    pub fn new(caller: Caller, reply: Reply, begun: Instant) -> Self {
        Self { caller, reply, decoder: Decoder::default(), waiting: VecDeque::new(), ended: false, first: true, begun }
    }

    /// The next event; nothing at the end. A comment says that the provider lives, not that it has begun to answer.
    ///
    /// # Errors
    /// Where the stream breaks off, falls silent or takes too long.
    pub async fn next(&mut self) -> Result<Option<Event>, ProviderError> {
        self.next_within(self.caller.patience.between).await
    }

    /// The same, with another patience for silence.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_within(&mut self, between: Duration) -> Result<Option<Event>, ProviderError> {
        let patience = self.caller.patience;
        let mut heard = Instant::now();
        loop {
            match self.waiting.pop_front() {
                Some(Item::Event { name, data }) => {
                    self.first = false;
                    return Ok(Some((name, data)));
                }
                Some(Item::Comment) => {
                    heard = Instant::now();
                    continue;
                }
                None if self.ended => return Ok(None),
                None => {}
            }
            let silent = if self.first { self.begun + patience.first } else { heard + between };
            let piece = timeout_at(silent.min(self.begun + patience.total), self.reply.piece(&self.caller)).await;
            match piece.map_err(|_| self.caller.timed_out("its stream has fallen silent"))?? {
                Some(piece) => {
                    let read = self.decoder.push(&piece, &mut self.waiting);
                    read.map_err(|error| self.caller.error(Fault::Malformed, &error.to_string()))?;
                }
                None => {
                    self.decoder.finish(&mut self.waiting);
                    self.ended = true;
                }
            }
        }
    }

    /// Another event has come with the last one.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.waiting.iter().any(|item| matches!(item, Item::Event { .. }))
    }

    /// Whether nothing more can come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended && self.waiting.is_empty()
    }

    /// What stood in the stream and is no event: some providers send an error so.
    #[must_use]
    pub fn stray(&self) -> &str {
        self.decoder.stray()
    }

    /// What the provider calls this request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.reply.request_id()
    }
}
