//! The event log in Redis, for any number of processes.
//!
//! ```text
//! publish ──script──▶ Redis: place, stream, message ──▶ every process that listens: RedisSubscriber ─▶ Sequence ─▶ hub
//!    └──the answer, which has the place────────────────────────────────────────────────────────────▶ Sequence ─┘
//! ```
//! A script gives an event its place, appends it to the channel's capped stream and publishes it, in one step. Data sets are
//! told apart by a random number that lies beside the channels, with the life of the server that it holds for. When Redis has
//! lost its data, or has started anew and may have lost some, it is another one, and every cursor into the former is told so.
//! Refuses to trust messages: what doesn't arrive is found by comparing places.

mod address;
mod comparison;
mod hearing;
mod keys;
mod link;
mod message;
pub(super) mod nodes;
mod presence;
mod script;
mod sequence;

use std::{sync::Arc, time::Duration};

use actix::{Addr, ArbiterHandle};
use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::address::{InvalidAddress, RedisAddress};
use self::presence::{Announcer, Errand};
pub(super) use self::{
    comparison::{Comparison, Turn},
    hearing::Hearing,
    keys::{Bucket, Keys},
    link::{Backoff, Link, Live, open},
    message::Message,
    script::{Call, Script},
    sequence::Sequence,
};
use super::{
    Epoch, EventLog, Limits, Listener, LogError, Logged, Position, Publication, Replay, Running, Snapshot, Voice,
    elsewhere::{Crowd, Instance, Said},
    metrics,
    subscriber::{Follow, RedisSubscriber, Unfollow},
};
use crate::{
    channel::Channel,
    event::{Chunk, Event, Fact},
    persona::Speaker,
    wake::Relay,
};

/// How many of a channel's newest messages a snapshot names: more than any page of history has.
const SNAPSHOT_MESSAGES: usize = 1000;

/// The event log in Redis.
pub struct RedisLog {
    source: Source,
    limits: Limits,
    sequence: Arc<Sequence>,
    subscriber: Addr<RedisSubscriber>,
    instance: Instance,
    announcer: mpsc::UnboundedSender<Errand>,
}

/// What is asked of Redis about channels. Cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    pub link: Arc<Link>,
    pub keys: Keys,
    /// How long what nobody writes to is kept, in milliseconds.
    ttl: u64,
}

impl RedisLog {
    /// A log at `address`, which tells `listener` of the channels that are followed and wakes through `relay`. What runs in
    /// the background does so on `thread`. Redis need not be there yet.
    #[must_use]
    pub fn start(address: RedisAddress, limits: Limits, listener: Listener, relay: Relay, thread: &ArbiterHandle) -> Self {
        let keys = Keys::new(address.prefix());
        let link = Arc::new(Link::new(address));
        // A cursor is trusted for the retention; a channel outlives every cursor that could still name it.
        let ttl = u64::try_from(limits.retention.as_millis()).unwrap_or(u64::MAX / 4) * 2;
        let source = Source { link: link.clone(), keys, ttl };
        let sequence = Arc::new(Sequence::new(listener.clone()));
        let instance = Instance::new();
        let (announcer, errands) = mpsc::unbounded_channel();
        thread.spawn(Announcer::new(source.clone(), instance, listener.clone()).run(errands));
        let hearing = Hearing { instance, listener, announcer: announcer.clone() };
        let subscriber = RedisSubscriber::start_on(thread, source.clone(), sequence.clone(), hearing, relay);
        thread.spawn(link.keep());
        Self { source, limits, sequence, subscriber, instance, announcer }
    }
}

impl Source {
    /// A call of a script that begins with a channel's place.
    fn ask_of(&self, script: &'static Script, keys: &[&str]) -> Result<Call, LogError> {
        let live = self.link.live()?;
        // The name of a data set, where the bucket needs one.
        let fresh: u32 = rand::random();
        Ok(script.on(keys).with(fresh).with(&live.life).with(u8::from(live.is_durable)))
    }

    /// Publishes what is not logged.
    pub async fn publish(&self, topic: &str, content: &str) -> Result<(), LogError> {
        let mut command = redis::cmd(self.link.live()?.publish());
        command.arg(topic).arg(content);
        self.link.ask::<Value>(&command).await.map(drop)
    }

    /// Whether a bucket can be written, as a server whose memory is full still reads.
    async fn check(&self, bucket: Bucket) -> Result<(), LogError> {
        let mut write = redis::cmd("SET");
        write.arg(self.keys.within(bucket, "ready")).arg("").arg("EX").arg(60);
        self.link.ask::<String>(&write).await.map(drop)
    }

    /// The newest place of a channel, and which processes have somebody there.
    pub async fn head(&self, channel: &Channel) -> Result<(Position, Vec<(Instance, u64)>), LogError> {
        let keys = self.keys.of(channel);
        let all = [&*keys.bucket, &keys.channel, &keys.entries, &keys.messages, &keys.present];
        let these = if channel.is_room() { &all[..] } else { &all[..4] };
        let call = presence::with_leases(self.ask_of(&script::HEAD, these)?.with(self.ttl), self, &keys.leases, &keys.people);
        let (dataset, generation, offset, crowds): (u32, u32, u64, Vec<(String, u64)>) = self.link.call(&call).await?;
        let crowds = crowds.into_iter().filter_map(|(at, version)| Some((at.parse().ok()?, version)));
        Ok((position(dataset, generation, offset), crowds.collect()))
    }
}

fn position(dataset: u32, generation: u32, offset: u64) -> Position {
    Position { epoch: Epoch::new(dataset, generation), offset }
}

/// What the script is told of an event, beside its text: empty where there is nothing to tell.
#[derive(Default)]
struct Marks {
    job: String,
    attempt: String,
    voice: String,
    once: String,
    message: String,
    ended: String,
    stream: String,
    /// `1` where what was told of the stream before is void.
    begins: String,
    /// The chunk without its text.
    chunk: String,
    speaker: String,
    text: String,
}

impl Marks {
    fn of(publication: &Publication<'_>) -> Self {
        let event: &Event = publication.event;
        let fence = publication.right.map(|(fence, _)| fence);
        let mut marks = Self {
            job: fence.map(|fence| fence.job.to_string()).unwrap_or_default(),
            attempt: fence.map(|fence| fence.attempt.to_string()).unwrap_or_default(),
            voice: publication.right.map(|(_, Voice(voice))| format!("{voice:x}")).unwrap_or_default(),
            // A command whose answer was lost may be sent again; under this mark it is logged once.
            once: publication.once.map_or_else(|| format!("{:x}", rand::random::<u64>()), |id| id.to_string()),
            message: event.fact.message_id().map(|id| id.to_string()).unwrap_or_default(),
            ..Self::default()
        };
        match &event.fact {
            Fact::AiChatChunk { job_id, result } => {
                marks.job = job_id.to_string();
                marks.stream = result.stream_id.to_string();
                marks.begins = u8::from(result.seq == 0).to_string();
                marks.chunk = json(&Chunk { text: String::new(), persona_id: None, persona_name: None, ..result.clone() });
                if let (Some(id), Some(name)) = (&result.persona_id, &result.persona_name) {
                    marks.speaker = json(&(id, name));
                }
                marks.text.clone_from(&result.text);
            }
            Fact::AiChat { job_id, .. } | Fact::GenerationComplete { job_id, .. } | Fact::GenerationFailed { job_id, .. } => {
                marks.ended = job_id.to_string();
            }
            _ => {}
        }
        marks
    }
}

#[async_trait]
impl EventLog for RedisLog {
    async fn publish(&self, publication: Publication<'_>) -> Result<Option<Position>, LogError> {
        let channel = &publication.event.channel;
        let json = publication.event.to_json();
        let keys = self.source.keys.of(channel);
        let publish = self.source.link.live()?.publish();
        let marks = Marks::of(&publication);
        let call = self
            .source
            .ask_of(&script::PUBLISH, &[&keys.bucket, &keys.channel, &keys.entries, &keys.messages, &keys.running])?
            .with(self.source.ttl)
            .with(self.limits.events)
            .with(self.limits.bytes)
            .with(publish)
            .with(&keys.topic)
            .with(&json);
        let marks = [
            marks.job,
            marks.attempt,
            marks.once,
            marks.message,
            marks.ended,
            marks.stream,
            marks.begins,
            marks.chunk,
            marks.speaker,
            marks.text,
            marks.voice,
        ];
        let answer: Vec<String> = self.source.link.call(&marks.iter().fold(call, Call::with)).await?;
        let position = match (answer.as_slice(), publication.right) {
            ([word], Some((fence, _))) if word == "fenced" => return Err(LogError::Fenced(fence)),
            ([word], _) if word == "known" => return Ok(None),
            ([dataset, generation, offset], _) => placed(dataset, generation, offset),
            _ => None,
        };
        let position = position.ok_or_else(|| LogError::Unavailable(format!("Redis answers {answer:?} to a publication")))?;
        metrics::PUBLICATIONS.inc();
        self.sequence.take(Logged { channel: channel.clone(), position, json: Bytes::from(json) });
        Ok(Some(position))
    }

    async fn head(&self, channel: &Channel) -> Result<Position, LogError> {
        let (head, _) = self.source.head(channel).await?;
        self.sequence.begin(channel, head);
        Ok(head)
    }

    async fn read(&self, channel: &Channel, after: Position) -> Result<Replay, LogError> {
        let keys = self.source.keys.of(channel);
        let call = self.source.ask_of(&script::READ, &[&keys.bucket, &keys.channel, &keys.entries])?;
        let call = call.with(after.epoch.dataset()).with(after.epoch.generation()).with(after.offset);
        let (dataset, generation, offset, entries): (u32, u32, u64, Vec<(String, Vec<Bytes>)>) = self.source.link.call_for_long(&call).await?;
        let head = position(dataset, generation, offset);
        let events: Vec<Logged> = entries.into_iter().filter_map(|entry| logged(channel, head.epoch, entry)).collect();
        let continues = after.continues_in(head);
        let next = if continues { after.offset + 1 } else { 1 };
        let first = events.first().map_or(head.offset + 1, |logged| logged.position.offset);
        Ok(Replay { complete: continues && first <= next, events, head })
    }

    async fn snapshot(&self, channel: &Channel) -> Result<Snapshot, LogError> {
        let keys = self.source.keys.of(channel);
        let call = self.source.ask_of(&script::SNAPSHOT, &[&keys.bucket, &keys.channel, &keys.messages, &keys.running])?;
        let call = call.with(SNAPSHOT_MESSAGES);
        let (dataset, generation, offset, messages, running): (u32, u32, u64, Vec<(String, u64)>, Vec<String>) =
            self.source.link.call_for_long(&call).await?;
        let messages = messages.into_iter().filter_map(|(id, offset)| Some((offset, id.parse().ok()?))).collect();
        let streaming = running.chunks_exact(4).filter_map(reply).collect();
        Ok(Snapshot { head: position(dataset, generation, offset), messages, streaming })
    }

    fn retention(&self) -> Duration {
        self.limits.retention
    }

    async fn check(&self) -> Result<(), LogError> {
        for number in 0..if self.source.link.live()?.is_cluster() { 16 } else { 1 } {
            self.source.check(Bucket::number(number)).await?;
        }
        Ok(())
    }

    async fn check_of(&self, channel: &Channel) -> Result<(), LogError> {
        self.source.check(Bucket::of(channel)).await
    }

    fn follow(&self, channel: &Channel) {
        self.sequence.follow(channel);
        self.subscriber.do_send(Follow(channel.clone()));
    }

    fn unfollow(&self, channel: &Channel) {
        self.sequence.unfollow(channel);
        self.subscriber.do_send(Unfollow(channel.clone()));
    }

    fn tell_elsewhere(&self, channel: &Channel, said: Said) {
        // The announcer lives as long as its thread, which lives as long as the process.
        let _ = self.announcer.send(Errand::Say(channel.clone(), said));
    }

    fn ask_elsewhere(&self, channel: &Channel) {
        let _ = self.announcer.send(Errand::Ask(channel.clone()));
    }

    async fn elsewhere(&self, channel: &Channel) -> Result<Vec<Crowd>, LogError> {
        presence::people(&self.source, self.instance, channel).await
    }
}

/// The place in three numbers.
pub(super) fn placed(dataset: &str, generation: &str, offset: &str) -> Option<Position> {
    Some(position(dataset.parse().ok()?, generation.parse().ok()?, offset.parse().ok()?))
}

/// An entry of a channel's stream: `<offset>-0`, and the fields, of which the first has the event.
fn logged(channel: &Channel, epoch: Epoch, (id, fields): (String, Vec<Bytes>)) -> Option<Logged> {
    let offset = id.strip_suffix("-0")?.parse().ok()?;
    let json = fields.into_iter().nth(1)?;
    Some(Logged { channel: channel.clone(), position: Position { epoch, offset }, json })
}

/// A reply that is streaming, as the script tells it.
fn reply(fields: &[String]) -> Option<Running> {
    let [job, chunk, speaker, text] = fields else { return None };
    let chunk: Chunk = serde_json::from_str(chunk).ok()?;
    Some(Running {
        job_id: job.parse().ok()?,
        text: text.clone(),
        seq: chunk.seq,
        provider: chunk.provider,
        persona: serde_json::from_str(speaker).ok().map(|(id, name)| Speaker { id, name }),
        reply_to: chunk.reply_to,
        stream_id: chunk.stream_id,
    })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a part of an event is plain data with text keys")
}
