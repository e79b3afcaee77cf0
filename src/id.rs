//! The ids of the product, each its own type, so that a job id can't stand where a message id belongs.
//!
//! Ids are UUIDv7: unique without asking anybody, and in order of their making, which is what history and job lists sort
//! by. Refuses to know what an id stands for.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later in order than every id this process made before.
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The sixteen bytes, as the store keeps them.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The least id that can be made at this moment or later: a mark to compare with.
            #[must_use]
            pub fn first_at(millis_since_1970: i64) -> Self {
                let millis = millis_since_1970.max(0).cast_unsigned().to_be_bytes();
                let mut bytes = [0; 16];
                bytes[..6].copy_from_slice(&millis[2..]);
                Self(Uuid::from_bytes(bytes))
            }

            /// The id that these sixteen bytes are.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Takes the hyphenated form in lower case alone, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
                if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text { Ok(Self(id)) } else { Err(InvalidId) }
            }
        }
    };
}

uuid_id! {
    /// One chat message, a person's or an AI's.
    MessageId
}
uuid_id! {
    /// One job of the queue.
    JobId
}
uuid_id! {
    /// One life of one worker process: who comes back from the dead is another worker.
    WorkerId
}
uuid_id! {
    /// One streamed reply: all its chunks and its end carry the same stream id, over retries too.
    StreamId
}
uuid_id! {
    /// One event that waits in the outbox until it is published.
    OutboxId
}

impl MessageId {
    /// The first id after this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
    }
}

/// The text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id")]
pub struct InvalidId;

macro_rules! plain_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_plain_id(text) { Ok(Self(text.into())) } else { Err(InvalidId) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

plain_id! {
    /// Who somebody is: `[A-Za-z0-9_-]{1,64}`; guests get `u_…`.
    UserId
}
plain_id! {
    /// A persona of a room: `[A-Za-z0-9_-]{1,64}`, chosen by the administrator.
    PersonaId
}

impl UserId {
    /// A new guest's id, unguessable.
    #[must_use]
    pub fn guest() -> Self {
        Self(format!("u_{}", Uuid::new_v4().simple()).into())
    }
}

/// Whether `text` is `[A-Za-z0-9_-]{1,64}`: what users, personas and rooms may be called.
#[must_use]
pub fn is_plain_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
