//! Servers, workers and what they stand on, which a test breaks at random and mends again.

use std::time::Duration;

use persona_community::check::recorder::Recorder;
use rand::{RngExt as _, rngs::SmallRng, seq::IndexedRandom as _};
use redis::Value;
use tokio::{task::spawn_blocking, time::sleep};

use super::{app::App, cable::Cable, postgres::Database, redis::Redis};

/// Ends the leases of those that run something.
pub const DEPOSE: &str = "update worker set lease_until = 0 where id in (select worker from job where state = 3)";

/// What can happen to an installation. Each is undone before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed, and started again a little later.
    Kill,
    /// A process is asked to stop, and started again.
    Stop,
    /// A process is stopped for this long at most and woken: longer than a lease, now and then.
    Freeze(Duration),
    /// A worker is stopped for longer than this, which is its lease, and woken while another is at what it ran.
    Outlast(Duration),
    /// The leases of all workers at work are over, and none of them knows.
    Deposed,
    /// Redis is killed, and comes back before this much time is over.
    RedisAway(Duration),
    /// Redis is stopped for this long at most and woken.
    RedisFrozen(Duration),
    /// Redis refuses whatever needs memory.
    RedisFull,
    /// The subscribers' connections are cut.
    SubscribersCut,
    /// All connections with Redis are cut.
    ConnectionsCut,
    /// Redis loses all it has.
    RedisForgets,
    /// The way to the database is cut for this long at most, or lets nothing through.
    DatabaseAway(Duration),
}

/// Processes that serve the same rooms.
pub struct Installation {
    /// Those that serve, and do the work as well where they are alone.
    pub servers: Vec<App>,
    /// Those that do the work alone.
    pub workers: Vec<App>,
    pub redis: Option<Redis>,
    /// The way to a database that all share.
    pub way: Option<Cable>,
    /// That database.
    pub database: Option<Database>,
}

/// Does what blocks beside everything else.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap()
}

impl Installation {
    /// Their addresses.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.url.clone()).collect()
    }

    /// Does one of these things, undoes it, and notes what it was.
    pub async fn suffer(&mut self, faults: &[Fault], recorder: &Recorder, random: &mut SmallRng) {
        let fault = *faults.choose(random).expect("there is something to happen");
        match fault {
            Fault::Kill => self.kill(recorder, random).await,
            Fault::Stop => self.stop(recorder, random).await,
            Fault::Freeze(longest) => self.freeze(longest, recorder, random).await,
            Fault::Outlast(lease) => self.outlast(lease, recorder, random).await,
            Fault::Deposed => self.depose(recorder).await,
            Fault::DatabaseAway(longest) => self.cut_database(longest, recorder, random).await,
            _ => self.break_redis(fault, recorder, random).await,
        }
    }

    /// Those of which one can be taken; workers come after servers.
    fn take(&mut self, random: &mut SmallRng) -> (usize, App) {
        let index = random.random_range(0..self.servers.len() + self.workers.len());
        let app = match index.checked_sub(self.servers.len()) {
            None => self.servers.remove(index),
            Some(worker) => self.workers.remove(worker),
        };
        (index, app)
    }

    /// Gives back what was taken as this one.
    fn put(&mut self, index: usize, app: App, servers: usize) {
        match index.checked_sub(servers) {
            None => self.servers.insert(index, app),
            Some(worker) => self.workers.insert(worker, app),
        }
    }

    /// Whether what a process forgets with its end is gone: the log in its memory.
    fn forgets(&self) -> bool {
        self.redis.is_none()
    }

    async fn kill(&mut self, recorder: &Recorder, random: &mut SmallRng) {
        let servers = self.servers.len();
        let (index, mut app) = self.take(random);
        recorder.fault(format!("process {index} is killed and started again"), self.forgets());
        app.kill();
        sleep(Duration::from_millis(random.random_range(0..500))).await;
        self.put(index, aside(|| app.restart()).await, servers);
    }

    async fn stop(&mut self, recorder: &Recorder, random: &mut SmallRng) {
        let servers = self.servers.len();
        let (index, mut app) = self.take(random);
        recorder.fault(format!("process {index} is asked to stop, and started again"), self.forgets());
        app.signal("TERM");
        let restart = move || {
            assert!(app.wait());
            app.restart()
        };
        self.put(index, aside(restart).await, servers);
    }

    async fn freeze(&mut self, longest: Duration, recorder: &Recorder, random: &mut SmallRng) {
        let processes: Vec<&App> = self.servers.iter().chain(&self.workers).collect();
        let app = processes.choose(random).unwrap();
        let lasts = random.random_range(longest / 10..longest);
        recorder.fault(format!("process {} is stopped for {} ms", app.pid(), lasts.as_millis()), false);
        app.signal("STOP");
        sleep(lasts).await;
        app.signal("CONT");
    }

    async fn outlast(&self, lease: Duration, recorder: &Recorder, random: &mut SmallRng) {
        let index = random.random_range(0..self.workers.len());
        let lasts = random.random_range(lease + lease / 5..lease * 3);
        recorder.fault(format!("worker {index} is stopped for {} ms, longer than its lease", lasts.as_millis()), false);
        self.workers[index].signal("STOP");
        sleep(lasts).await;
        self.workers[index].signal("CONT");
    }

    async fn depose(&self, recorder: &Recorder) {
        let database = self.database.as_ref().expect("there is a database to write to");
        recorder.fault("the leases of all workers at work are over, and none of them knows", false);
        database.client().await.execute(DEPOSE, &[]).await.unwrap();
    }

    async fn cut_database(&mut self, longest: Duration, recorder: &Recorder, random: &mut SmallRng) {
        let cable = self.way.as_ref().expect("there is a database to lose");
        let (lasts, is_dead) = (random.random_range(longest / 10..longest), random.random_bool(0.5));
        recorder.fault(format!("the database {} for {} ms", if is_dead { "hangs" } else { "is away" }, lasts.as_millis()), false);
        if is_dead {
            cable.go_dead();
        } else {
            cable.cut();
        }
        sleep(lasts).await;
        cable.mend();
    }

    async fn break_redis(&mut self, fault: Fault, recorder: &Recorder, random: &mut SmallRng) {
        let mut redis = self.redis.take().expect("there is a Redis to break");
        match fault {
            Fault::RedisAway(longest) => {
                let lasts = random.random_range(longest / 10..longest);
                recorder.fault(format!("Redis is killed, and back after {} ms", lasts.as_millis()), false);
                redis.kill();
                sleep(lasts).await;
                redis = come_back(redis).await;
            }
            Fault::RedisForgets => {
                recorder.fault("Redis is killed, and comes back without its data", true);
                redis.kill();
                redis.lose_everything();
                redis = come_back(redis).await;
            }
            Fault::RedisFrozen(longest) => {
                let lasts = random.random_range(longest / 10..longest);
                recorder.fault(format!("Redis is stopped for {} ms", lasts.as_millis()), false);
                redis.signal("STOP");
                sleep(lasts).await;
                redis.signal("CONT");
            }
            Fault::RedisFull => {
                let lasts = Duration::from_millis(random.random_range(100..3_000));
                recorder.fault(format!("Redis is full for {} ms", lasts.as_millis()), false);
                redis.be_full(true);
                sleep(lasts).await;
                redis.be_full(false);
            }
            Fault::SubscribersCut => {
                recorder.fault("the subscribers' connections are cut", false);
                redis.ask::<Value>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            Fault::ConnectionsCut => {
                recorder.fault("all connections with Redis are cut", false);
                for kind in ["pubsub", "normal"] {
                    redis.ask::<Value>(&["CLIENT", "KILL", "TYPE", kind]);
                }
            }
            _ => unreachable!("it is none of Redis' faults"),
        }
        self.redis = Some(redis);
    }
}

async fn come_back(mut redis: Redis) -> Redis {
    aside(|| {
        redis.come_back();
        redis
    })
    .await
}
