//! What processes that share a log tell each other beside its events: who is in a room, and who types there.
//!
//! None of it is logged, and none of it is relied on: what was not heard is noticed by its version, and asked for.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{event::Person, id::UserId};

/// One of the processes that share a log, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(u64);

impl Instance {
    /// One that no other process is.
    #[must_use]
    pub fn new() -> Self {
        Self(rand::random())
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Instance {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// What a room of this process has to say to the others.
#[derive(Debug)]
pub enum Said {
    /// Who has come here, and who has gone.
    Changed { joined: Vec<Arc<Person>>, left: Vec<UserId> },
    /// Everybody who is here.
    Everybody(Vec<Arc<Person>>),
    /// Somebody types here, or types no longer.
    Typing(Typing),
}

/// What a room hears of other processes.
#[derive(Debug)]
pub enum Heard {
    /// Everybody who is there, at every other process.
    Everybody(Vec<Crowd>),
    /// Who has come to one of them, and who has gone; its `version` before was one less.
    Changed { at: Instance, version: u64, changes: Changes },
    /// Which of them have somebody, and of which version.
    Versions(Vec<(Instance, u64)>),
    /// They may not know who is here: they are to be told of everybody.
    TellEverybody,
    /// Somebody types there, or types no longer.
    Typing(Typing),
}

/// Everybody who is in a room at one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowd {
    pub at: Instance,
    /// Counts what was said of it.
    pub version: u64,
    pub people: Vec<Person>,
}

/// Who has come, and who has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Person>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<UserId>,
}

/// Whether somebody types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    pub user_id: UserId,
    pub is_typing: bool,
}
