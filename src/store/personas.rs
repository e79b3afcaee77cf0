//! What the store keeps of personas.

use async_trait::async_trait;

use super::StoreError;
use crate::{channel::Channel, id::PersonaId, persona::Persona};

/// The most personas of one room: all of them may answer one message.
pub const MAX_PERSONAS_OF_ROOM: u32 = 16;

/// Which personas to list.
#[derive(Debug, Clone, Default)]
pub struct PersonaFilter {
    pub channel: Option<Channel>,
    /// Only those whose ids come later.
    pub after: Option<PersonaId>,
    pub limit: usize,
}

/// What became of keeping a persona.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    Created,
    /// It takes the place of the one that had its id, and keeps the time of its making.
    Replaced,
    /// Its room has [`MAX_PERSONAS_OF_ROOM`] others.
    RoomIsFull,
}

/// Who answers in rooms.
#[async_trait]
pub trait PersonaStore: Send + Sync {
    /// Personas in the order of their ids.
    async fn personas(&self, filter: PersonaFilter) -> Result<Vec<Persona>, StoreError>;

    /// One persona.
    async fn persona(&self, id: &PersonaId) -> Result<Option<Persona>, StoreError>;

    /// Keeps a persona under its id.
    async fn put_persona(&self, persona: Persona) -> Result<Kept, StoreError>;

    /// Forgets a persona. Says whether there was one.
    async fn delete_persona(&self, id: &PersonaId) -> Result<bool, StoreError>;
}
