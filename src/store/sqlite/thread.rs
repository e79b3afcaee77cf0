//! The threads that talk to SQLite: one that writes, and some that read.
//!
//! The writer takes all that waits and puts it into one transaction, so that one flush to disk serves many; who waits is
//! answered after the commit. If the group fails, each of it is tried alone, so that one bad statement fails nobody else.
//! Refuses to know what it runs.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use diesel::{Connection, SqliteConnection};
use tokio::sync::oneshot;

use super::fault;
use crate::store::StoreError;

/// The most that goes into one transaction.
const MAX_GROUP: usize = 1024;

/// Something to run on a connection. It may run more than once; only the last run counts.
trait Job: Send {
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), diesel::result::Error>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, F> {
    run: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut SqliteConnection) -> Result<T, diesel::result::Error> + Send,
{
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), diesel::result::Error> {
        self.value = Some((self.run)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        // Who no longer waits doesn't need the answer.
        let _ = reply.send(outcome.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

/// A set of threads, each with a connection of its own.
pub(super) struct Threads {
    senders: Mutex<Vec<Sender<Box<dyn Job>>>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
}

impl Threads {
    /// One thread that writes.
    pub(super) fn writer(connection: SqliteConnection) -> Self {
        Self::start(vec![connection], "sqlite-writer", write_loop)
    }

    /// Threads that read.
    pub(super) fn readers(connections: Vec<SqliteConnection>) -> Self {
        Self::start(connections, "sqlite-reader", read_loop)
    }

    fn start(connections: Vec<SqliteConnection>, name: &str, body: fn(SqliteConnection, &Receiver<Box<dyn Job>>)) -> Self {
        let (mut senders, mut threads) = (Vec::new(), Vec::new());
        for connection in connections {
            let (sender, receiver) = channel();
            let spawned = std::thread::Builder::new().name(name.into()).spawn(move || body(connection, &receiver));
            match spawned {
                Ok(thread) => {
                    senders.push(sender);
                    threads.push(thread);
                }
                Err(error) => log::error!("can't start {name}: {error}"),
            }
        }
        Self { senders: Mutex::new(senders), handles: Mutex::new(threads), next: AtomicUsize::new(0) }
    }

    /// Runs `run` on one of the threads, inside a transaction.
    pub(super) async fn call<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut SqliteConnection) -> Result<T, diesel::result::Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(Call { run, value: None, reply }))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.is_empty() {
            return Err(StoreError::Closed);
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed) % senders.len();
        senders[index].send(job).map_err(|_| StoreError::Closed)
    }

    /// Finishes what was sent and ends the threads.
    pub(super) fn close(&self) {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for thread in self.handles.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                log::error!("a database thread has panicked");
            }
        }
    }
}

fn write_loop(mut connection: SqliteConnection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(MAX_GROUP - 1));
        commit(&mut connection, group);
    }
}

fn commit(connection: &mut SqliteConnection, mut group: Vec<Box<dyn Job>>) {
    let together = connection.immediate_transaction(|connection| group.iter_mut().try_for_each(|job| job.run(connection)));
    match together.map_err(fault) {
        Err(error) if group.len() > 1 && !error.is_retryable() => group.into_iter().for_each(|job| commit(connection, vec![job])),
        outcome => group.into_iter().for_each(|job| job.answer(outcome.clone())),
    }
}

fn read_loop(mut connection: SqliteConnection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(mut job) = jobs.recv() {
        let outcome = connection.transaction(|connection| job.run(connection)).map_err(fault);
        job.answer(outcome);
    }
}
