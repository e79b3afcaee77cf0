//! The nodes that messages come from: one connection to each, made again whenever it is lost.
//!
//! A single server is a cluster of one node that has every slot. Refuses to remember what is subscribed to: whoever owns
//! these connections is told when one is up, and subscribes anew.

use std::{collections::HashMap, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, Pipeline, PushInfo, PushKind, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
};
use tokio::sync::mpsc;

use super::{Backoff, Live, Source, keys::SLOTS, open};
use crate::log::{LogError, metrics};

/// How often a connection is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How many topics are subscribed to in one write.
const BATCH: usize = 1000;

/// A node's address, `host:port`.
pub type NodeName = String;

/// What becomes of a node's connection.
#[derive(Debug)]
pub enum NodeEvent {
    /// It is there, and subscribed to nothing.
    Up,
    /// It is lost.
    Down,
    /// The node no longer has these topics, or can't take them now.
    Refused(Vec<String>),
    /// The node says something.
    Said(PushInfo),
}

/// What a node's connection is told.
#[derive(Debug)]
pub enum NodeCommand {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
}

/// A connection to a node; gone when this is dropped.
pub struct Node(mpsc::UnboundedSender<NodeCommand>);

/// Who is told of a node's connection.
pub trait Listening: Fn(NodeEvent) + Send + Sync + Clone + 'static {}

impl<T: Fn(NodeEvent) + Send + Sync + Clone + 'static> Listening for T {}

impl Node {
    /// Connects to a node, again and again; `told` hears what becomes of it.
    pub fn start(info: ConnectionInfo, source: Source, told: impl Listening) -> Self {
        let (sender, commands) = mpsc::unbounded_channel();
        actix_rt::spawn(keep(info, source, commands, told));
        Self(sender)
    }

    /// Tells the connection something; it is lost where there is none, as whoever sent it is told of the next one.
    pub fn send(&self, command: NodeCommand) {
        // The task ends only when this is dropped.
        let _ = self.0.send(command);
    }
}

async fn keep(info: ConnectionInfo, source: Source, mut commands: mpsc::UnboundedReceiver<NodeCommand>, told: impl Listening) {
    let mut backoff = Backoff::default();
    while !commands.is_closed() {
        let (gone, mut is_gone) = mpsc::channel(1);
        let hear = told.clone();
        let config = AsyncConnectionConfig::new().set_push_sender(move |said: PushInfo| {
            if said.kind == PushKind::Disconnection {
                // Told once already where this fails.
                let _ = gone.try_send(());
            } else {
                hear(NodeEvent::Said(said));
            }
            Ok::<(), std::convert::Infallible>(())
        });
        match open(&info, config).await {
            Ok(connection) => {
                backoff = Backoff::default();
                metrics::SUBSCRIBER_CONNECTS.inc();
                // What was sent before belongs to another connection.
                while commands.try_recv().is_ok() {}
                told(NodeEvent::Up);
                let is_sharded = source.link.live().is_ok_and(|live| live.is_sharded);
                serve(connection, is_sharded, &mut commands, &mut is_gone, &told).await;
                told(NodeEvent::Down);
                if !commands.is_closed() {
                    log::warn!("the subscriber's connection to {} is lost", info.addr());
                }
            }
            Err(error) => log::debug!("the subscriber can't reach {}: {error}", info.addr()),
        }
        actix_rt::time::sleep(backoff.next()).await;
    }
}

/// Does what it is told until the connection is lost, or nobody wants it any more.
async fn serve(
    mut connection: MultiplexedConnection,
    is_sharded: bool,
    commands: &mut mpsc::UnboundedReceiver<NodeCommand>,
    gone: &mut mpsc::Receiver<()>,
    told: &impl Listening,
) {
    loop {
        let done = tokio::select! {
            _ = gone.recv() => return,
            command = commands.recv() => match command {
                None => return,
                Some(command) => perform(&mut connection, is_sharded, command, told).await,
            },
            () = actix_rt::time::sleep(TRY_EVERY) => redis::cmd("PING").query_async::<Value>(&mut connection).await.is_ok(),
        };
        if !done {
            return;
        }
    }
}

/// Sends a command for each topic, many in one write: on a cluster, topics of one command would have to share a slot.
async fn perform(connection: &mut MultiplexedConnection, is_sharded: bool, command: NodeCommand, told: &impl Listening) -> bool {
    let (name, topics, is_wanted) = match command {
        NodeCommand::Subscribe(topics) => ("SUBSCRIBE", topics, true),
        NodeCommand::Unsubscribe(topics) => ("UNSUBSCRIBE", topics, false),
    };
    let name = if is_sharded { format!("S{name}") } else { name.to_owned() };
    for batch in topics.chunks(BATCH) {
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for topic in batch {
            pipeline.cmd(&name).arg(topic);
        }
        let Ok(answers) = connection.req_packed_commands(&pipeline, 0, batch.len()).await else { return false };
        let refused = batch.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Value::ServerError(_)));
        let refused: Vec<String> = refused.map(|(topic, _)| topic.clone()).collect();
        if is_wanted && !refused.is_empty() {
            told(NodeEvent::Refused(refused));
        }
    }
    true
}

/// Which node has which slots.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    nodes: HashMap<NodeName, ConnectionInfo>,
    /// The last slot of each range, and whose it is, in order.
    ranges: Vec<(u16, NodeName)>,
}

impl Topology {
    /// Asks Redis.
    pub async fn ask(source: &Source) -> Result<Self, LogError> {
        let live = source.link.live()?;
        if !live.is_cluster() {
            let name = live.node.addr().to_string();
            return Ok(Self { nodes: HashMap::from([(name.clone(), live.node.clone())]), ranges: vec![(SLOTS - 1, name)] });
        }
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let slots: Vec<Value> = source.link.ask(&command).await?;
        let mut topology = Self::default();
        for range in &slots {
            topology.add(range, &live);
        }
        topology.ranges.sort_unstable();
        Ok(topology)
    }

    /// Adds `[first, last, [host, port, …], …]`: <https://redis.io/docs/latest/commands/cluster-slots/>.
    fn add(&mut self, range: &Value, live: &Live) -> Option<()> {
        let (Value::Array(range), ConnectionAddr::Tcp(own_host, _) | ConnectionAddr::TcpTls { host: own_host, .. }) = (range, live.node.addr())
        else {
            return None;
        };
        let [_, last, Value::Array(master), ..] = range.as_slice() else { return None };
        let last: u16 = redis::from_redis_value_ref(last).ok()?;
        // A node that doesn't know its own name is reached as the one that was asked.
        let host = redis::from_redis_value_ref::<Option<String>>(master.first()?).ok()?.filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| own_host.clone());
        let port: u16 = redis::from_redis_value_ref(master.get(1)?).ok()?;
        let address = match live.node.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls { host, port, insecure, tls_params },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let name = address.to_string();
        self.nodes.insert(name.clone(), live.node.clone().set_addr(address));
        self.ranges.push((last, name));
        Some(())
    }

    /// Whose a slot is.
    pub fn node_of(&self, slot: u16) -> Option<&NodeName> {
        let index = self.ranges.partition_point(|(last, _)| *last < slot);
        self.ranges.get(index).map(|(_, name)| name)
    }

    /// All nodes.
    pub fn nodes(&self) -> &HashMap<NodeName, ConnectionInfo> {
        &self.nodes
    }
}
