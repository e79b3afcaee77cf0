//! The thread on which all talk with the database takes place.
//!
//! It has a runtime of its own, so that a request which is given up does not tear a transaction apart, and a caller that
//! blocks its own thread delays nobody's lease. Refuses to know what it runs.

use std::{
    rc::Rc,
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet},
};

use super::pool::Pool;
use crate::store::StoreError;

/// How long a close waits for what is under way.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce(Rc<Pool>) -> LocalBoxFuture<'static, ()> + Send>;

/// The thread, from outside.
pub(super) struct Thread {
    work: Mutex<Option<mpsc::UnboundedSender<Work>>>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    /// Starts it.
    pub(super) fn start(pool: Pool) -> Result<Self, StoreError> {
        let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("no thread for the database: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let body = move || LocalSet::new().block_on(&runtime, serve(Rc::new(pool), receiver));
        let handle = std::thread::Builder::new().name("postgres".into()).spawn(body).map_err(unavailable)?;
        Ok(Self { work: Mutex::new(Some(sender)), handle: Mutex::new(Some(handle)) })
    }

    /// Runs `work` there, to its end even where nobody waits for it any longer.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&Pool) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.spawn(async move |pool| {
            // Who no longer waits doesn't need the answer.
            let _ = reply.send(work(pool).await);
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Starts `work` there.
    pub(super) fn spawn<F>(&self, work: F) -> Result<(), StoreError>
    where
        F: AsyncFnOnce(&Pool) + Send + 'static,
    {
        let work: Work = Box::new(move |pool| Box::pin(async move { work(&pool).await }));
        let sender = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().and_then(|sender| sender.send(work).ok()).ok_or(StoreError::Closed)
    }

    /// Ends what is under way, and the thread.
    pub(super) async fn close(&self) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(handle) = handle else { return };
        let ended = tokio::task::spawn_blocking(move || handle.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            log::error!("the thread of the database has panicked");
        }
    }
}

async fn serve(pool: Rc<Pool>, mut work: mpsc::UnboundedReceiver<Work>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            next = work.recv() => match next {
                Some(work) => drop(running.spawn_local(work(pool.clone()))),
                None => break,
            },
            Some(ended) = running.join_next() => {
                if let Err(error) = ended {
                    log::error!("a task of the database thread has failed: {error}");
                }
            }
        }
    }
    if tokio::time::timeout(CLOSE_WITHIN, async { while running.join_next().await.is_some() {} }).await.is_err() {
        log::warn!("the database did not answer before it was let go");
    }
    pool.close();
}
