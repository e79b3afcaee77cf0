//! The subscriber: hears what Redis publishes on the channels that somebody here listens to, and on no others.
//!
//! Subscribing and unsubscribing is done in batches, each topic at its node. Messages may be lost, with a connection or by a
//! server that is short of memory; so the newest place that was told is compared with the log's, again and again. What is
//! missing the room reads from the log. Refuses to read events itself.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{PushInfo, PushKind, Value};

use super::{
    Logged, Position,
    elsewhere::Instance,
    metrics,
    redis::{
        Bucket, Comparison, Hearing, Message as Published, Sequence, Source, Turn,
        nodes::{Node, NodeCommand, NodeEvent, NodeName, Topology},
    },
};
use crate::{
    channel::Channel,
    wake::{Incoming, Outgoing, Relay},
};

/// How long changes of what is subscribed to are gathered.
const GATHER: Duration = Duration::from_millis(2);
/// How often the subscriber sees to what waits.
const TICK: Duration = Duration::from_millis(20);
/// How soon the nodes are looked up again where they were not as expected.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often a message goes to ourselves, to see how long it takes.
const ECHO_EVERY: Duration = Duration::from_secs(1);
/// The least time between two messages that wake workers.
const WAKE_PACE: Duration = Duration::from_millis(2);

/// Somebody here listens to a channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Follow(pub Channel);

/// Nobody here listens to a channel any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Unfollow(pub Channel);

/// A node's connection has something to tell.
#[derive(Message)]
#[rtype(result = "()")]
struct FromNode(NodeName, NodeEvent);

/// Hears what Redis publishes.
pub struct RedisSubscriber {
    source: Source,
    sequence: Arc<Sequence>,
    wakeups: Incoming,
    /// Until it has started.
    outgoing: Option<Outgoing>,
    topology: Topology,
    is_looking: bool,
    nodes: HashMap<NodeName, Node>,
    topics: HashMap<String, Topic>,
    /// Topics that are to be subscribed to.
    wanted: HashSet<String>,
    /// Topics that are to be left, and whose they are.
    unwanted: Vec<(NodeName, String)>,
    is_gathering: bool,
    comparison: Comparison,
    hearing: Hearing,
    started: Instant,
}

/// Something that is subscribed to.
struct Topic {
    bucket: Bucket,
    about: About,
    /// The node that was asked for it.
    node: Option<NodeName>,
}

enum About {
    Channel(Channel),
    Wakeups,
    /// A message to ourselves.
    Echo,
}

impl RedisSubscriber {
    /// A subscriber on this thread.
    pub(super) fn start_on(thread: &ArbiterHandle, source: Source, sequence: Arc<Sequence>, hearing: Hearing, relay: Relay) -> Addr<Self> {
        Self::start_in_arbiter(thread, move |_| {
            let (wakeups, outgoing) = relay.split();
            Self {
                source,
                sequence,
                wakeups,
                outgoing: Some(outgoing),
                topology: Topology::default(),
                is_looking: false,
                nodes: HashMap::new(),
                topics: HashMap::new(),
                wanted: HashSet::new(),
                unwanted: Vec::new(),
                is_gathering: false,
                comparison: Comparison::new(Instant::now()),
                hearing,
                started: Instant::now(),
            }
        })
    }

    fn want(&mut self, name: String, bucket: Bucket, about: About, ctx: &mut Context<Self>) {
        self.topics.insert(name.clone(), Topic { bucket, about, node: None });
        self.wanted.insert(name);
        self.flush_soon(ctx);
    }

    fn flush_soon(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.is_gathering, true) {
            ctx.run_later(GATHER, |subscriber, ctx| {
                subscriber.is_gathering = false;
                subscriber.flush(ctx);
            });
        }
    }

    /// Sends what was gathered, each topic to its node.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        let mut leave: HashMap<NodeName, Vec<String>> = HashMap::new();
        for (node, name) in std::mem::take(&mut self.unwanted) {
            leave.entry(node).or_default().push(name);
        }
        let mut join: HashMap<NodeName, Vec<String>> = HashMap::new();
        let mut is_lost = false;
        for name in std::mem::take(&mut self.wanted) {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            topic.node = self.topology.node_of(topic.bucket.slot()).cloned();
            match &topic.node {
                Some(node) => join.entry(node.clone()).or_default().push(name),
                None => is_lost = true,
            }
        }
        let leave = leave.into_iter().map(|(node, names)| (node, NodeCommand::Unsubscribe(names)));
        let join = join.into_iter().map(|(node, names)| (node, NodeCommand::Subscribe(names)));
        for (node, command) in leave.chain(join) {
            if let Some(node) = self.nodes.get(&node) {
                node.send(command);
            }
        }
        if is_lost {
            self.look_up(ctx, LOOK_AGAIN);
        }
        metrics::TOPICS.set(i64::try_from(self.topics.len()).unwrap_or(i64::MAX));
    }

    /// Finds out, after a while, which nodes there are and who has what.
    fn look_up(&mut self, ctx: &mut Context<Self>, after: Duration) {
        if std::mem::replace(&mut self.is_looking, true) {
            return;
        }
        let source = self.source.clone();
        let look = async move {
            actix_rt::time::sleep(after).await;
            Topology::ask(&source).await
        };
        ctx.spawn(look.into_actor(self).map(|found, subscriber, ctx| {
            subscriber.is_looking = false;
            match found {
                Ok(topology) => subscriber.take_topology(topology, ctx),
                Err(_) => subscriber.look_up(ctx, LOOK_AGAIN),
            }
        }));
    }

    fn take_topology(&mut self, topology: Topology, ctx: &mut Context<Self>) {
        self.nodes.retain(|name, _| topology.nodes().contains_key(name));
        for (name, info) in topology.nodes() {
            self.nodes.entry(name.clone()).or_insert_with(|| {
                let (me, name) = (ctx.address(), name.clone());
                Node::start(info.clone(), self.source.clone(), move |event| me.do_send(FromNode(name.clone(), event)))
            });
        }
        self.topology = topology;
        // What lies elsewhere now is asked for there; the rest comes when its node's connection is up.
        for (name, topic) in &self.topics {
            if topic.node.as_ref() != self.topology.node_of(topic.bucket.slot()) {
                self.wanted.insert(name.clone());
            }
        }
        if !self.wanted.is_empty() {
            self.flush_soon(ctx);
        }
    }

    fn heard(&mut self, node: &NodeName, PushInfo { kind, data }: PushInfo, ctx: &mut Context<Self>) {
        let mut data = data.into_iter();
        let (Some(Value::BulkString(name)), content) = (data.next(), data.next()) else { return };
        let Some((name, topic)) = std::str::from_utf8(&name).ok().and_then(|name| self.topics.get_key_value(name)) else { return };
        match (kind, content) {
            (PushKind::Message | PushKind::SMessage, Some(Value::BulkString(content))) => self.take(&topic.about, content),
            (PushKind::Subscribe | PushKind::SSubscribe, _) => {
                if let About::Channel(channel) = &topic.about {
                    self.comparison.confirmed(channel.clone());
                }
            }
            // Not asked for: the node has given the topic's slot away.
            (PushKind::Unsubscribe | PushKind::SUnsubscribe, _) if topic.node.as_ref() == Some(node) => {
                let name = name.clone();
                self.refused([name], ctx);
            }
            _ => {}
        }
    }

    fn take(&self, about: &About, content: Vec<u8>) {
        metrics::MESSAGES.inc();
        match about {
            About::Channel(channel) => match Published::parse(&Bytes::from(content)) {
                Some(Published::Logged { position, json }) => self.sequence.take(Logged { channel: channel.clone(), position, json }),
                Some(message) => self.hearing.hear(channel, message),
                None => log::warn!("{channel}: a message can't be read"),
            },
            About::Wakeups => {
                let words = String::from_utf8_lossy(&content);
                let (from, wakeup) = words.split_once(' ').unwrap_or_default();
                if let Ok(wakeup) = wakeup.parse()
                    && from != self.hearing.instance.to_string()
                {
                    self.wakeups.wake(wakeup);
                }
            }
            About::Echo => {
                if let Ok(sent) = String::from_utf8_lossy(&content).parse() {
                    metrics::LAG.observe(self.started.elapsed().saturating_sub(Duration::from_micros(sent)));
                }
            }
        }
    }

    fn refused(&mut self, names: impl IntoIterator<Item = String>, ctx: &mut Context<Self>) {
        for name in names {
            if let Some(topic) = self.topics.get_mut(&name) {
                topic.node = None;
            }
        }
        self.look_up(ctx, LOOK_AGAIN);
    }

    /// Compares the channels whose turn it is, and sends rooms to the log for what has not arrived.
    fn compare(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.sequence.release(now);
        for hole in self.comparison.holes(now, |channel| self.sequence.told(channel)) {
            self.fill(&hole.channel, hole.head, hole.by_round);
        }
        let topics = &self.topics;
        let followed = || {
            let channel = |topic: &Topic| if let About::Channel(channel) = &topic.about { Some(channel.clone()) } else { None };
            topics.values().filter_map(channel).collect()
        };
        let turns = self.comparison.turns(now, TICK, followed);
        if turns.is_empty() {
            return;
        }
        let (source, sequence) = (self.source.clone(), self.sequence.clone());
        let ask = async move { heads(&source, &sequence, turns).await };
        ctx.spawn(ask.into_actor(self).map(|compared, subscriber, _| {
            for (turn, told, head, crowds) in compared {
                if turn.channel.is_room() {
                    subscriber.hearing.compare(&turn.channel, crowds);
                }
                if let Some(hole) = subscriber.comparison.compare(turn, told, head, Instant::now()) {
                    subscriber.fill(&hole.channel, hole.head, hole.by_round);
                }
            }
        }));
    }

    fn fill(&self, channel: &Channel, head: Position, is_unexpected: bool) {
        if is_unexpected {
            metrics::HOLES.inc();
        }
        self.sequence.skip_to(channel, head);
    }
}

/// What Redis says of a channel that was asked about, with what was told of it before.
type Compared = (Turn, Option<Position>, Position, Vec<(Instance, u64)>);

/// Asks for the newest place of each channel.
async fn heads(source: &Source, sequence: &Sequence, turns: Vec<Turn>) -> Vec<Compared> {
    metrics::POSITION_CHECKS.add(turns.len() as u64);
    let asked = turns.into_iter().map(|turn| async move {
        let told = sequence.told(&turn.channel);
        // Where Redis is away, the next round asks again.
        let (head, crowds) = source.head(&turn.channel).await.ok()?;
        Some((turn, told, head, crowds))
    });
    asked.collect::<FuturesUnordered<_>>().filter_map(std::future::ready).collect().await
}

impl Actor for RedisSubscriber {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let wake_topic = self.source.keys.within(Bucket::number(0), "wake");
        self.want(wake_topic.clone(), Bucket::number(0), About::Wakeups, ctx);
        let instance = self.hearing.instance;
        let echo_bucket = Bucket::number(instance.number());
        let echo_topic = self.source.keys.within(echo_bucket, &format!("echo:{instance}"));
        self.want(echo_topic.clone(), echo_bucket, About::Echo, ctx);
        if let Some(outgoing) = self.outgoing.take() {
            actix_rt::spawn(wake_others(self.source.clone(), wake_topic, instance, outgoing));
        }
        ctx.run_interval(TICK, Self::compare);
        let (source, started) = (self.source.clone(), self.started);
        ctx.run_interval(ECHO_EVERY, move |_, _| {
            let (source, topic) = (source.clone(), echo_topic.clone());
            actix_rt::spawn(async move {
                let sent = started.elapsed().as_micros().to_string();
                // Where Redis is away, the figure stays as it is, and others tell of it.
                let _ = source.publish(&topic, &sent).await;
            });
        });
    }
}

impl Handler<Follow> for RedisSubscriber {
    type Result = ();

    fn handle(&mut self, Follow(channel): Follow, ctx: &mut Context<Self>) {
        self.want(self.source.keys.topic(&channel), Bucket::of(&channel), About::Channel(channel), ctx);
    }
}

impl Handler<Unfollow> for RedisSubscriber {
    type Result = ();

    fn handle(&mut self, Unfollow(channel): Unfollow, ctx: &mut Context<Self>) {
        let name = self.source.keys.topic(&channel);
        self.wanted.remove(&name);
        if let Some(Topic { node: Some(node), .. }) = self.topics.remove(&name) {
            self.unwanted.push((node, name));
            self.flush_soon(ctx);
        }
    }
}

impl Handler<FromNode> for RedisSubscriber {
    type Result = ();

    fn handle(&mut self, FromNode(node, event): FromNode, ctx: &mut Context<Self>) {
        match event {
            NodeEvent::Up => {
                let theirs = self.topics.iter().filter(|(_, topic)| self.topology.node_of(topic.bucket.slot()) == Some(&node));
                self.wanted.extend(theirs.map(|(name, _)| name.clone()));
                self.flush(ctx);
            }
            // On a cluster another node may take its place.
            NodeEvent::Down => self.look_up(ctx, LOOK_AGAIN),
            NodeEvent::Refused(names) => self.refused(names, ctx),
            NodeEvent::Said(said) => self.heard(&node, said, ctx),
        }
    }
}

/// Tells other processes that there may be work. What can't be told is found by those who look by themselves.
async fn wake_others(source: Source, topic: String, instance: Instance, mut outgoing: Outgoing) {
    while let Some(wakeups) = outgoing.next().await {
        for wakeup in wakeups {
            if let Err(error) = source.publish(&topic, &format!("{instance} {wakeup}")).await {
                log::debug!("other workers are not woken: {error}");
            }
        }
        actix_rt::time::sleep(WAKE_PACE).await;
    }
}
