//! Who answers in each room, as the store had it a moment ago: every message that is to be answered asks for it.
//!
//! Refuses to remember longer than `LASTS`, so that what an administrator changes is soon true on every instance.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    channel::Channel,
    persona::Persona,
    store::{MAX_PERSONAS_OF_ROOM, PersonaFilter, Store, StoreError},
};

/// How long a room's personas are remembered.
const LASTS: Duration = Duration::from_secs(1);
/// How many rooms are remembered before the old ones are looked for.
const MANY: usize = 1024;

/// The personas of rooms.
#[derive(Default)]
pub struct Casts(Mutex<HashMap<Channel, Cast>>);

struct Cast {
    personas: Arc<[Persona]>,
    read: Instant,
}

impl Casts {
    /// The personas of this room.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn of(&self, store: &dyn Store, channel: &Channel) -> Result<Arc<[Persona]>, StoreError> {
        if let Some(cast) = self.lock().get(channel).filter(|cast| cast.read.elapsed() < LASTS) {
            return Ok(cast.personas.clone());
        }
        let read = Instant::now();
        let filter = PersonaFilter { channel: Some(channel.clone()), after: None, limit: MAX_PERSONAS_OF_ROOM as usize };
        let personas: Arc<[Persona]> = store.personas(filter).await?.into();
        let mut casts = self.lock();
        if casts.len() >= MANY {
            casts.retain(|_, cast| cast.read.elapsed() < LASTS);
        }
        casts.insert(channel.clone(), Cast { personas: personas.clone(), read });
        Ok(personas)
    }

    /// Somebody was changed: here at least, it is true at once.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, Cast>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
