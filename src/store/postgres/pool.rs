//! The connections of this process: few, shared, each of a limited life.
//!
//! A connection is thrown away when it is old, so that a cluster which grew is used in all its parts and a load balancer can
//! drain a node; when its driver has ended; and when a transaction on it did not end cleanly. Refuses to hand out one that
//! is known to be dead.

use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, Instant},
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, RecycleError, RecycleResult, Timeouts},
};
use diesel::result::Error;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use tokio::task::JoinHandle;
use tokio_postgres::{Config, NoTls, Socket, config::Host, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Isolation, PostgresConfig,
    literal::statement,
    tls::{self, TlsError},
};

/// The life of a connection; each has its own, up to a quarter longer.
const LIFETIME: Duration = Duration::from_mins(15);
/// Connecting, encrypted or not, to a server that is there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

pub(super) type Pool = managed::Pool<Connector>;
pub(super) type Lent = managed::Object<Connector>;

/// Makes connections.
pub(super) struct Connector {
    server: Config,
    tls: Option<MakeRustlsConnect>,
    isolation: Isolation,
    timeout: Duration,
    /// Known since the first connection.
    engine: OnceLock<Engine>,
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine.get() {
            Some(Engine::Postgres) => "PostgreSQL",
            Some(Engine::Cockroach) => "CockroachDB",
            None => "whatever it is",
        };
        write!(f, "{engine} at {}", self.place())
    }
}

/// One connection.
pub(super) struct Connection {
    pub inner: AsyncPgConnection,
    driver: JoinHandle<()>,
    dies: Instant,
}

impl Connection {
    /// Whether nothing is known to be wrong with it.
    pub(super) fn is_alive(&self) -> bool {
        !self.driver.is_finished()
    }
}

/// Which database it is, by what `version()` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Postgres,
    Cockroach,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{}", with_cause(.0))]
    Refused(#[from] tokio_postgres::Error),
    #[error("it doesn't answer")]
    Silent,
    #[error("{0}")]
    Setup(String),
}

/// An error of the driver names its kind alone; what happened stands in its cause.
fn with_cause(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A pool that has no connection yet.
///
/// # Errors
/// Where the certificates can't be read.
pub(super) fn pool(config: &PostgresConfig) -> Result<Pool, TlsError> {
    let mut server = config.url.server.clone();
    if server.get_application_name().is_none() {
        server.application_name("persona");
    }
    // Finds out by itself that the other side has vanished, also while nothing is sent.
    server.connect_timeout(CONNECT_WITHIN).keepalives_idle(Duration::from_secs(15)).keepalives_interval(Duration::from_secs(5));
    server.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(30));
    let tls = config.url.tls.as_ref().map(tls::connector).transpose()?;
    let connector = Connector { server, tls, isolation: config.isolation, timeout: config.timeout, engine: OnceLock::new() };
    let timeouts = Timeouts { wait: Some(config.timeout), create: Some(CONNECT_WITHIN * 2), recycle: None };
    let built = Pool::builder(connector).max_size(config.connections).timeouts(timeouts).runtime(Runtime::Tokio1).build();
    Ok(built.expect("a pool with a runtime can have timeouts"))
}

impl Connector {
    /// Where it connects to, without the secrets.
    pub(super) fn place(&self) -> String {
        let hosts = self.server.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let ports: Vec<String> = self.server.get_ports().iter().map(u16::to_string).collect();
        format!("{}:{}/{}", hosts.collect::<Vec<_>>().join(","), ports.join(","), self.server.get_dbname().unwrap_or_default())
    }

    /// Whether transactions run at READ COMMITTED: they don't count what others commit meanwhile. Known since the first connection.
    pub(super) fn misses_commits(&self) -> bool {
        self.engine.get().is_some_and(|engine| self.is_read_committed(*engine))
    }

    /// How a transaction begins that claims. PostgreSQL need not wait for its disk there; CockroachDB knows no such thing.
    pub(super) fn begin_claim(&self) -> &'static str {
        match self.engine.get() {
            Some(Engine::Postgres) => "begin; set local synchronous_commit = off",
            Some(Engine::Cockroach) | None => "begin",
        }
    }

    fn is_read_committed(&self, engine: Engine) -> bool {
        match self.isolation {
            Isolation::ReadCommitted => true,
            Isolation::Serializable => false,
            Isolation::OfEngine => engine == Engine::Postgres,
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let connecting = async {
            match &self.tls {
                Some(tls) => self.connect_by(tls.clone()).await,
                None => self.connect_by(NoTls).await,
            }
        };
        tokio::time::timeout(CONNECT_WITHIN, connecting).await.map_err(|_| ConnectError::Silent)?
    }

    async fn connect_by<T>(&self, tls: T) -> Result<Connection, ConnectError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (client, connection) = self.server.connect(tls).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection to the database has ended: {}", with_cause(&error));
            }
        });
        let refused = |error: &dyn fmt::Display| ConnectError::Setup(error.to_string());
        let mut inner = AsyncPgConnection::try_from(client).await.map_err(|error| refused(&error))?;
        self.set_up(&mut inner).await.map_err(|error| refused(&error))?;
        let dies = Instant::now() + LIFETIME.mul_f64(1.0 + rand::random::<f64>() / 4.0);
        Ok(Connection { inner, driver, dies })
    }

    /// What holds for all of the connection's life. No statement and no lock is waited for without end.
    async fn set_up(&self, connection: &mut AsyncPgConnection) -> Result<(), Error> {
        let engine = engine(connection).await?;
        // The same each time.
        let _ = self.engine.set(engine);
        let isolation = if self.is_read_committed(engine) { "read committed" } else { "serializable" };
        let millis = self.timeout.as_millis();
        // Who is stopped in the middle of a transaction keeps others from what it has locked for no longer than this.
        let idle = (millis / 4).max(1_000);
        let settings = format!(
            "set default_transaction_isolation = '{isolation}'; set statement_timeout = {millis}; set lock_timeout = {millis}; \
             set idle_in_transaction_session_timeout = {idle}"
        );
        connection.batch_execute(&settings).await?;
        if engine == Engine::Postgres {
            // A plan is kept, and one that was made while a table was empty would walk through it when it is full. None depends on
            // its values, so that it need not be made anew for them; and none is worth compiling, which costs a tenth of a second.
            connection.batch_execute("set enable_seqscan = off; set plan_cache_mode = force_generic_plan; set jit = off").await?;
        }
        Ok(())
    }
}

/// Which engine this connection leads to.
pub(super) async fn engine(connection: &mut AsyncPgConnection) -> Result<Engine, Error> {
    let version: String = statement::<diesel::sql_types::Text>("select version()").get_result(connection).await?;
    Ok(if version.contains("CockroachDB") { Engine::Cockroach } else { Engine::Postgres })
}

impl managed::Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        self.connect().await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<ConnectError> {
        if !connection.is_alive() || connection.dies < Instant::now() {
            return Err(RecycleError::message("at its end"));
        }
        Ok(())
    }
}
