//! The composition root: puts store, log, hub, service and worker together, runs them, and takes them down in order.
//!
//! Refuses to hold logic of its own: what is here is who knows whom, and what comes first.

mod accept;
mod first;
mod metrics;
mod operating;
mod refusal;
pub mod secret;
pub mod tls;
mod wire;

use std::{
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_http::{HttpService, KeepAlive, error::DispatchError};
use actix_server::{GracefulShutdownSignal, Server, ServerHandle};
use actix_service::{Service as _, ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::{App, dev::AppConfig, middleware::from_fn, web::Data};
use actix_web_lab::middleware::CatchPanic;
use anyhow::{Context as _, Result};
use futures_util::future::OptionFuture;
use socket2::{Domain, Socket, Type};
use tokio_rustls::TlsAcceptor;

use self::{
    accept::{Accepted, Entrance},
    metrics::METRICS,
    wire::Wire,
};
use crate::{
    api::{self, State, cast::Casts},
    config::{Config, Database, Part},
    log::{EventLog, Listener, MemoryLog, News, RedisLog},
    media::MediaStore,
    outbox::Outbox,
    realtime::{
        host::{Drain, Host, HostId},
        limits::StreamLimits,
        registry::RoomRegistry,
        room::{Hear, Publish, ReadUpTo},
        watch::Watch,
    },
    store::{Limit, PostgresStore, SqliteStore, Store},
    wake::Wakeups,
    worker::{Tools, Worker, place::Limited},
};

/// So many connections may wait to be accepted.
const BACKLOG: i32 = 8192;

/// The product, or a part of it, in this process, accepting connections.
pub struct Application {
    address: SocketAddr,
    is_secure: bool,
    server: ServerHandle,
    state: Data<State>,
    hosts: Hosts,
    worker: Option<Worker>,
    store: Arc<dyn Store>,
    drain: Duration,
}

/// The hosts of all streams.
type Hosts = Arc<[Addr<Host>]>;

impl Application {
    /// Puts everything together and begins to accept connections. Needs a running actix system.
    ///
    /// # Errors
    /// Where the store can't be opened, the address is taken, or a certificate is no good.
    pub async fn start(config: &Config) -> Result<Self> {
        // Where one is installed already, it is this one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let tls = tls::acceptor(&config.service.tls)?;
        let files = raise_descriptor_limit();
        let most_streams = config.streams.most(files);
        if config.part != Part::Worker {
            log::info!("{files} files may be open, so there may be {} streams", most_streams.in_all);
        }
        let listener = listen(config.service.listen).with_context(|| format!("can't listen on {}", config.service.listen))?;
        let address = listener.local_addr()?;
        let store = open_store(config).await?;
        if let Database::Sqlite(path) = &config.storage.database {
            // No other process has this file, so whatever runs has died with the process that ran it.
            store.expire_all().await.with_context(|| format!("can't use {}", path.display()))?;
        }
        let pictures = config.storage.data_dir.join("media");
        let media = MediaStore::open(pictures.clone()).with_context(|| format!("can't make the folder of the pictures, {}", pictures.display()))?;
        let signer = secret::signer(config)?;

        let (registry, log, wakeups) = hub(config);
        let outbox = Outbox::start(store.clone(), log.clone());
        let worker = match config.part {
            Part::Service => None,
            Part::Whole | Part::Worker => {
                let provider = config.providers.build().context("can't talk to providers")?;
                let tools = Tools {
                    store: store.clone(),
                    log: log.clone(),
                    outbox: outbox.clone(),
                    provider,
                    media: media.clone(),
                    wakeups: wakeups.clone(),
                    retention: config.queue.retention,
                    context_tokens: config.generation.context_tokens,
                    prices: Arc::new(config.usage.prices.clone()),
                    daily_limits: config.usage.daily_limits,
                    limited: Limited::default(),
                };
                log::info!("doing up to {} jobs at once", config.queue.worker.slots);
                Some(start_worker(tools, config).await?)
            }
        };
        let state = Data::new(State {
            store: store.clone(),
            log,
            outbox,
            registry: registry.clone(),
            limits: StreamLimits::new(most_streams),
            wakeups,
            media,
            metrics: METRICS,
            signer,
            admin: config.service.admin.clone(),
            casts: Casts::default(),
            models: config.generation.models.clone(),
            known_models: config.generation.known.clone(),
            daily_limits: config.usage.daily_limits,
            session_lasts: config.service.session_lasts,
            stream_lifetime: config.streams.manners.stream_lifetime,
            max_jobs_per_user: config.queue.max_jobs_per_user,
            request_within: config.service.request_within,
            draining: AtomicBool::new(false),
        });
        let is_secure = tls.is_some();
        let (hosts, server) = match config.part {
            Part::Worker => (Hosts::default(), operating::serve(listener, state.clone())?),
            Part::Whole | Part::Service => {
                let hosts = start_hosts(config, &registry).context("the streams have no place")?;
                let (hosts_taken, request_within) = (Arc::default(), config.service.request_within);
                let thread = HttpThread { state: state.clone(), tls, request_within, hosts: hosts.clone(), hosts_taken };
                (hosts, serve(listener, config, thread)?)
            }
        };
        // Nobody sends clients to a worker.
        let drain = if config.part == Part::Worker { Duration::ZERO } else { config.service.drain };
        Ok(Self { address, is_secure, server, state, hosts, worker, store, drain })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_secure { "https" } else { "http" }, self.address)
    }

    /// Takes everything down: streams are told, the others can see that it stops, requests and jobs get a while, and the
    /// database is closed last.
    pub async fn stop(self) {
        self.state.draining.store(true, Ordering::Relaxed);
        for host in &*self.hosts {
            host.do_send(Drain);
        }
        actix_rt::time::sleep(self.drain).await;
        tokio::join!(self.server.stop(true), OptionFuture::from(self.worker.map(Worker::stop)));
        self.state.outbox.settle().await;
        self.store.close().await;
    }
}

/// Opens the store that the settings name, and brings its tables up to date.
///
/// # Errors
/// Where it can't be used.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>> {
    match &config.storage.database {
        Database::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path)?)),
        Database::Postgres(postgres) => {
            if config.storage.redis.is_none() {
                log::warn!("REDIS_URL is missing: no other process may use this database, as what happens in one is not told in the other");
            }
            Ok(Arc::new(PostgresStore::open(postgres).await?))
        }
    }
}

async fn start_worker(tools: Tools, config: &Config) -> Result<Worker> {
    for Limit { scope, most } in &config.queue.limits {
        tools.store.set_limit(scope.clone(), Some(*most)).await.context("can't set the limits of jobs")?;
    }
    Worker::start(tools, config.queue.worker).context("can't start the worker")
}

/// The registry and the log, each of which knows the other; and what wakes workers, here or everywhere.
fn hub(config: &Config) -> (Addr<RoomRegistry>, Arc<dyn EventLog>, Wakeups) {
    let mut made = None;
    let registry = RoomRegistry::create(|ctx| {
        let registry = ctx.address();
        let tell = move |news| match news {
            News::Logged(logged) => registry.do_send(Publish(logged)),
            News::Head(channel, head) => registry.do_send(ReadUpTo(channel, head)),
            News::Elsewhere(channel, heard) => registry.do_send(Hear(channel, heard)),
        };
        let (log, wakeups) = event_log(config, Arc::new(tell));
        made = Some((log.clone(), wakeups));
        RoomRegistry::new(log, config.streams.manners)
    });
    let (log, wakeups) = made.expect("an actor is made before its address is given");
    (registry, log, wakeups)
}

/// The log that the settings name, and what wakes workers through it.
fn event_log(config: &Config, listener: Listener) -> (Arc<dyn EventLog>, Wakeups) {
    let limits = config.storage.log;
    match &config.storage.redis {
        None => (Arc::new(MemoryLog::new(limits, listener)), Wakeups::default()),
        Some(address) => {
            let (wakeups, relay) = Wakeups::relayed();
            // Its thread lives as long as the process.
            let thread = Arbiter::new().handle();
            (Arc::new(RedisLog::start(address.clone(), limits, listener, relay, &thread)), wakeups)
        }
    }
}

/// Listens, with room for those who come back all at once; the kernel may grant less (`net.core.somaxconn`).
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A host for each HTTP thread, on threads that live as long as the process.
fn start_hosts(config: &Config, registry: &Addr<RoomRegistry>) -> std::io::Result<Hosts> {
    let ids = 0..config.service.http_threads as HostId;
    ids.map(|id| Host::start_on(&Arbiter::new().handle(), id, registry.clone(), config.streams.manners)).collect()
}

/// What every HTTP thread is made from.
#[derive(Clone)]
struct HttpThread {
    state: Data<State>,
    tls: Option<TlsAcceptor>,
    request_within: Duration,
    hosts: Hosts,
    /// How many threads have taken theirs.
    hosts_taken: Arc<AtomicUsize>,
}

fn serve(listener: TcpListener, config: &Config, thread: HttpThread) -> Result<ServerHandle> {
    listener.set_nonblocking(true)?;
    let stop_within = config.service.stop_within.as_secs();
    let builder =
        Server::build().workers(config.service.http_threads).max_concurrent_connections(1_000_000).shutdown_timeout(stop_within).disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen("http", listener, move || http(thread.clone(), stopping.clone()))?.run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            log::error!("the HTTP server has failed: {error}");
        }
    });
    Ok(handle)
}

/// One HTTP thread: its host, its watch, and the way of a socket to them.
fn http(
    thread: HttpThread,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<actix_rt::net::TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let HttpThread { state, tls, request_within, hosts, hosts_taken } = thread;
    let host = hosts[hosts_taken.fetch_add(1, Ordering::Relaxed) % hosts.len()].clone();
    let watch = Watch::new().inspect(|watch| watch.clone().start(host.clone()));
    let watch = watch.inspect_err(|error| log::error!("a thread can't serve: {error}")).ok();

    let app = App::new().app_data(state.clone()).app_data(Data::new(host.clone())).configure(api::routes);
    let app = app.wrap(CatchPanic::default()).wrap(from_fn(api::error::finish));
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(75)))
        .client_request_timeout(request_within)
        .client_disconnect_timeout(Duration::from_secs(2))
        .on_connect_ext(|wire: &Wire, data| {
            data.insert(wire.peer().clone());
        })
        .finish(map_config(app, |()| AppConfig::default()));
    let entrance = watch.map(|watch| Rc::new(Entrance::new(state, host, watch, tls, request_within)));
    fn_factory(move || {
        let (entrance, http) = (entrance.clone(), http.new_service(()));
        async move {
            let (entrance, http) = (entrance.ok_or(())?, Rc::new(http.await?));
            Ok(fn_service(move |socket| {
                let (entrance, http) = (entrance.clone(), http.clone());
                // As a whole apart: the server below keeps twice the room that it takes.
                Box::pin(async move {
                    match entrance.accept(socket).await? {
                        Accepted::Stream => Ok(()),
                        // Apart, or every socket would take its room while it is on its way, thousands that come at once too.
                        Accepted::Http(wire, protocol, address) => Box::pin(http.call((wire, protocol, address))).await,
                    }
                })
            }))
        }
    })
}

/// Raises the limit of open files as far as it goes, and says how far that is.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("the limit of open files can't be raised: {error}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(1_000_000)
}
