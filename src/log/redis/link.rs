//! The link to Redis: finds out what kind of server it is, keeps a connection to it, and makes a new one when it is lost.
//!
//! Short commands of all threads travel on one multiplexed connection, which sends together what waits together; replies that
//! may be long come over a pool of their own, so that nothing short waits behind them. Refuses to wait for Redis to come
//! back: whoever asks meanwhile is told at once that it is away.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use deadpool_redis::{PoolConfig, Timeouts};
use rand::RngExt as _;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind,
    aio::MultiplexedConnection, cluster::ClusterClientBuilder, cluster_async::ClusterConnection,
};
use tokio::sync::Notify;

use super::{address::RedisAddress, script::Call};
use crate::log::{LogError, metrics};

/// How long connecting, and an answer, may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often a connection on which nothing happens is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Connections for long replies.
const POOL_SIZE: usize = 8;

/// The way to Redis.
pub struct Link {
    address: RedisAddress,
    live: RwLock<Option<Arc<Live>>>,
    lost: Notify,
}

/// A server that answers.
pub struct Live {
    commands: Commands,
    pool: Pool,
    /// Whether it has sharded messages: from version 7.
    pub is_sharded: bool,
    /// The node that told all this.
    pub node: ConnectionInfo,
    /// Which life of the server this is; empty for a cluster, whose nodes have lives of their own.
    pub life: String,
    /// Whether all it was told is on its disk before it answers.
    pub is_durable: bool,
}

/// A connection that many may use at once.
#[derive(Clone)]
enum Commands {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

enum Pool {
    Single(deadpool_redis::Pool),
    Cluster(deadpool_redis::cluster::Pool),
}

impl Link {
    /// A link that isn't connected until [`Self::keep`] runs.
    pub fn new(address: RedisAddress) -> Self {
        Self { address, live: RwLock::new(None), lost: Notify::new() }
    }

    /// The server, where it answers.
    pub fn live(&self) -> Result<Arc<Live>, LogError> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone().ok_or_else(|| LogError::Unavailable("not connected to Redis".into()))
    }

    /// Runs a script whose answer is short.
    pub async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T, LogError> {
        let live = self.live()?;
        let answer = match live.commands.clone() {
            Commands::Single(mut connection) => call.run(&mut connection).await,
            Commands::Cluster(mut connection) => call.run(&mut connection).await,
        };
        answer.map_err(|error| self.failed(&live, &error))
    }

    /// Runs a script whose answer may be long.
    pub async fn call_for_long<T: FromRedisValue>(&self, call: &Call) -> Result<T, LogError> {
        let live = self.live()?;
        let no_connection = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
        let answer = match &live.pool {
            Pool::Single(pool) => call.run(&mut pool.get().await.map_err(|error| no_connection(&error))?).await,
            Pool::Cluster(pool) => call.run(&mut pool.get().await.map_err(|error| no_connection(&error))?).await,
        };
        answer.map_err(|error| LogError::Unavailable(error.to_string()))
    }

    /// Runs a command whose answer is short.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LogError> {
        let live = self.live()?;
        let answer = match live.commands.clone() {
            Commands::Single(mut connection) => command.query_async(&mut connection).await,
            Commands::Cluster(mut connection) => command.query_async(&mut connection).await,
        };
        answer.map_err(|error| self.failed(&live, &error))
    }

    fn failed(&self, live: &Arc<Live>, error: &RedisError) -> LogError {
        // Who may only be read is a replica now, and another is in its place.
        let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        let is_gone = is_replica || error.is_connection_dropped() || error.is_timeout() || error.is_unrecoverable_error();
        // A cluster's connection finds its way by itself, and one node's trouble is not that of the others.
        if is_gone && matches!(live.commands, Commands::Single(_)) {
            self.let_go(live, error);
        }
        LogError::Unavailable(error.to_string())
    }

    fn let_go(&self, dead: &Arc<Live>, error: &RedisError) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, dead)) {
            *live = None;
            log::warn!("Redis is away: {error}");
            self.lost.notify_one();
        }
    }

    /// Keeps the link connected, for as long as this is polled.
    pub async fn keep(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        loop {
            match connect(&self.address).await {
                Ok(live) => {
                    let live = Arc::new(live);
                    metrics::CONNECTS.inc();
                    log::info!("connected to Redis, {live:?}");
                    *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                    backoff = Backoff::default();
                    self.watch(live).await;
                }
                Err(error) => {
                    let pause = backoff.next();
                    log::warn!("Redis can't be reached: {error}; trying again in {pause:.0?}");
                    actix_rt::time::sleep(pause).await;
                }
            }
        }
    }

    /// Returns when the connection is lost.
    async fn watch(&self, live: Arc<Live>) {
        loop {
            tokio::select! {
                () = self.lost.notified() => return,
                () = actix_rt::time::sleep(TRY_EVERY) => {}
            }
            // What fails here has let go of the connection.
            if matches!(live.commands, Commands::Single(_)) {
                let _: Result<String, LogError> = self.ask(&redis::cmd("PING")).await;
            }
        }
    }
}

impl Live {
    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self.commands, Commands::Cluster(_))
    }

    /// The command that publishes, where all listeners use the one that belongs to it.
    pub fn publish(&self) -> &'static str {
        if self.is_sharded { "SPUBLISH" } else { "PUBLISH" }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_cluster() { "a cluster" } else { "a single server" };
        let messages = if self.is_sharded { "sharded" } else { "plain" };
        write!(f, "{kind} with {messages} messages, at {}", self.node.addr())
    }
}

/// Asks the nodes of the address in turn, and connects the way that the first one to answer says.
async fn connect(address: &RedisAddress) -> RedisResult<Live> {
    let mut failure = None;
    for node in address.nodes() {
        match connect_by(node, address).await {
            Ok(live) => return Ok(live),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "no address of Redis"))))
}

async fn connect_by(node: &ConnectionInfo, address: &RedisAddress) -> RedisResult<Live> {
    let mut connection = open(node, AsyncConnectionConfig::new()).await?;
    let mut info = redis::pipe();
    info.cmd("INFO").arg("server").cmd("INFO").arg("replication");
    let (server, replication): (String, String) = info.query_async(&mut connection).await?;
    let is_sharded = field(&server, "redis_version").split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 7);
    let is_cluster = field(&server, "redis_mode") == "cluster";
    if !is_cluster && field(&replication, "role") == "slave" {
        return Err(RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica", node.addr().to_string())));
    }
    let is_durable = !is_cluster && writes_before_it_answers(&mut connection).await;
    let life = if is_cluster { String::new() } else { field(&server, "run_id").to_owned() };
    let (commands, pool) = if is_cluster {
        let nodes = address.nodes().to_vec();
        let client = ClusterClientBuilder::new(nodes.clone()).connection_timeout(CONNECT_WITHIN).response_timeout(ANSWER_WITHIN).build()?;
        let pool = cluster_pool(nodes)?;
        (Commands::Cluster(client.get_async_connection().await?), Pool::Cluster(pool))
    } else {
        (Commands::Single(connection), Pool::Single(single_pool(node.clone())?))
    };
    Ok(Live { commands, pool, is_sharded, node: node.clone(), life, is_durable })
}

/// What `INFO` says of a field.
fn field<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default()
}

/// Whether the server writes to its disk whatever it was told before it answers. Where it doesn't say, it is not relied on.
async fn writes_before_it_answers(connection: &mut MultiplexedConnection) -> bool {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("append*");
    let said: HashMap<String, String> = ask.query_async(connection).await.unwrap_or_default();
    let says = |name: &str, value: &str| said.get(name).is_some_and(|said| said == value);
    says("appendonly", "yes") && says("appendfsync", "always")
}

/// One connection to one node.
pub async fn open(node: &ConnectionInfo, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
    let config = config.set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(Some(ANSWER_WITHIN));
    Client::open(node.clone())?.get_multiplexed_async_connection_with_config(&config).await
}

fn pool_config() -> PoolConfig {
    let within = Some(CONNECT_WITHIN + ANSWER_WITHIN);
    PoolConfig { timeouts: Timeouts { wait: within, create: within, recycle: Some(ANSWER_WITHIN) }, ..PoolConfig::new(POOL_SIZE) }
}

fn single_pool(node: ConnectionInfo) -> RedisResult<deadpool_redis::Pool> {
    let limits = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(Some(ANSWER_WITHIN));
    let manager = deadpool_redis::Manager::new_with_config(node, limits)?;
    let pool = deadpool_redis::Pool::builder(manager).config(pool_config()).runtime(deadpool_redis::Runtime::Tokio1).build();
    pool.map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "no pool can be made")))
}

fn cluster_pool(nodes: Vec<ConnectionInfo>) -> RedisResult<deadpool_redis::cluster::Pool> {
    let manager = deadpool_redis::cluster::Manager::new(nodes, false)?;
    let pool = deadpool_redis::cluster::Pool::builder(manager).config(pool_config()).runtime(deadpool_redis::Runtime::Tokio1).build();
    pool.map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "no pool can be made")))
}

/// Ever longer pauses between attempts, each jittered, so that many processes don't come back at once.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(2);

    /// The next pause.
    pub fn next(&mut self) -> Duration {
        let pause = (Self::FIRST * 2_u32.pow(self.attempts.min(8))).min(Self::LAST);
        self.attempts += 1;
        pause.mul_f64(rand::rng().random_range(0.5..1.0))
    }
}
