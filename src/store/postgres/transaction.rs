//! Transactions as a whole: begun, run, committed, and run again where the database asks for it.
//!
//! CockroachDB, and PostgreSQL under SERIALIZABLE, may roll any transaction back in favour of another (40001); then all of it
//! runs again. A commit whose answer is lost may have happened: the next run is told so by [`Doubt`] and looks before it
//! writes. Refuses to run what isn't safe to run again.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use deadpool::managed::{Object, PoolError, TimeoutType};
use diesel::result::Error;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};

use super::{
    fault::Fault,
    pool::{ConnectError, Lent, Pool},
};
use crate::store::StoreError;

/// The most runs of a transaction that others get in the way of.
const MOST_RUNS: u32 = 25;
/// The most runs of one whose connection breaks.
const MOST_CONNECTIONS: u32 = 4;
/// The pause before another run is random, up to this much for each run before, and no more than ten times as much.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether a former run may have been committed without anybody hearing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// No: whatever is found is not from this call.
    None,
    /// Perhaps: look first.
    MayBeDone,
}

/// Where a statement may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Between BEGIN and COMMIT.
    Transaction,
    /// The same, and what is sent first only reads: BEGIN goes with it; and its commit is not waited for on disk.
    Claiming,
    /// Alone: each statement is a transaction.
    Autocommit,
}

/// Runs `work` in a transaction, again and again until it is committed or can't be.
///
/// An error that `work` gets from a statement must be given back: the transaction is void with it.
pub(super) async fn transaction<T>(pool: &Pool, work: impl AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error>) -> Result<T, StoreError> {
    run(pool, Frame::Transaction, work).await
}

/// The same for a claim: `work` that may be lost again where the server crashes, and is seen by all until then. Whatever is written
/// on the ground of it is durable only together with it, as the server's log is written in order.
///
/// Its first statements only read, or lock what they read, so that they need no trip of BEGIN before: it is harmless where BEGIN
/// fails and they have run without.
pub(super) async fn claiming<T>(pool: &Pool, work: impl AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error>) -> Result<T, StoreError> {
    run(pool, Frame::Claiming, work).await
}

/// Runs `work`, whose statements are each a transaction of their own, until each has succeeded: they must be harmless when
/// they are repeated.
pub(super) async fn statements<T>(pool: &Pool, work: impl AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error>) -> Result<T, StoreError> {
    run(pool, Frame::Autocommit, work).await
}

async fn run<T>(pool: &Pool, frame: Frame, work: impl AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error>) -> Result<T, StoreError> {
    let (begun, patience) = (Instant::now(), pool.timeouts().wait.unwrap_or_default());
    let (mut doubt, mut broken) = (Doubt::None, 0);
    for runs in 1.. {
        let fault = match once(pool, frame, &work, doubt).await {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        match &fault {
            Fault::Conflict(_) => {}
            Fault::Lost(_) => broken += 1,
            Fault::Ambiguous(_) => (doubt, broken) = (Doubt::MayBeDone, broken + 1),
            Fault::Final(_) => return Err(fault.into_error()),
        }
        if broken > 0 {
            // The others have most likely broken with it.
            pool.retain(|connection, _| connection.is_alive());
        }
        if runs >= MOST_RUNS || broken >= MOST_CONNECTIONS || begun.elapsed() > patience {
            return Err(fault.into_error());
        }
        log::debug!("run {runs} of a transaction: {fault:?}");
        tokio::time::sleep(PAUSE.mul_f64(rand::random::<f64>() * f64::from(runs.min(10)))).await;
    }
    unreachable!("the loop ends by its counts")
}

async fn once<T>(pool: &Pool, frame: Frame, work: impl AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error>, doubt: Doubt) -> Result<T, Fault> {
    let lent = pool.get().await.map_err(unavailable)?;
    // The database gives up by itself before; this is for one that no longer answers at all.
    let patience = pool.timeouts().wait.unwrap_or_default().saturating_mul(2);
    let connection = &lent.inner;
    let ran = tokio::time::timeout(patience, async {
        match frame {
            Frame::Transaction => {
                (&*connection).batch_execute("begin").await.map_err(Fault::of_statement)?;
                work(connection, doubt).await.map_err(Fault::of_statement)
            }
            Frame::Claiming => begin_with(connection, pool.manager().begin_claim(), work(connection, doubt)).await.map_err(Fault::of_statement),
            Frame::Autocommit => work(connection, doubt).await.map_err(Fault::of_commit),
        }
    });
    let ran = ran.await.unwrap_or_else(|_| Err(silent(frame)));
    match (ran, frame) {
        (Ok(value), Frame::Autocommit) => Ok(value),
        (Err(fault), Frame::Autocommit) => {
            give_up(lent, &fault, true);
            Err(fault)
        }
        (Ok(value), Frame::Transaction | Frame::Claiming) => match tokio::time::timeout(patience, (&*connection).batch_execute("commit")).await {
            Ok(Ok(())) => Ok(value),
            Ok(Err(error)) => {
                let fault = Fault::of_commit(error);
                give_up(lent, &fault, true);
                Err(fault)
            }
            Err(_) => {
                drop(Object::take(lent));
                Err(Fault::Ambiguous("the database doesn't answer a commit".into()))
            }
        },
        (Err(fault), Frame::Transaction | Frame::Claiming) => {
            let is_alive = !matches!(fault, Fault::Lost(_) | Fault::Ambiguous(_));
            let rolled_back =
                is_alive && tokio::time::timeout(patience, (&*connection).batch_execute("rollback")).await.is_ok_and(|done| done.is_ok());
            give_up(lent, &fault, rolled_back);
            Err(fault)
        }
    }
}

/// Sends BEGIN and what `work` sends first in one trip. Nothing more is sent before BEGIN has succeeded.
async fn begin_with<T>(connection: &AsyncPgConnection, begin: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut client = connection;
    let (mut begin, mut work) = (pin!(client.batch_execute(begin)), pin!(work));
    // Answers come in the order of what was sent, and BEGIN's is looked at first.
    tokio::select! {
        biased;
        begun = &mut begin => begun?,
        done = &mut work => {
            begin.await?;
            return done;
        }
    }
    work.await
}

fn silent(frame: Frame) -> Fault {
    let text = "the database doesn't answer".to_owned();
    if frame == Frame::Autocommit { Fault::Ambiguous(text) } else { Fault::Lost(text) }
}

/// Gives the connection back to the pool, unless it may be broken or in the middle of something.
fn give_up(lent: Lent, fault: &Fault, is_clean: bool) {
    if !is_clean || matches!(fault, Fault::Lost(_) | Fault::Ambiguous(_)) {
        drop(Object::take(lent));
    }
}

fn unavailable(error: PoolError<ConnectError>) -> Fault {
    Fault::of_connecting(match error {
        PoolError::Backend(error) => error.to_string(),
        PoolError::Timeout(TimeoutType::Wait) => "all connections are busy".to_owned(),
        PoolError::Timeout(_) => ConnectError::Silent.to_string(),
        PoolError::Closed => return Fault::Final(StoreError::Closed),
        other => other.to_string(),
    })
}
