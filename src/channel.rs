//! Channels: `user:<id>` or `channel:<id>`, and nothing else.
//!
//! A [`Channel`] exists only if its text is well-formed; whoever holds one need not check again. Refuses to know who may
//! listen to it.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::id::{UserId, is_plain_id};

/// Where an event is told: one user's private channel, or a room. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(Arc<str>);

impl Channel {
    /// The private channel of one user.
    #[must_use]
    pub fn of_user(user: &UserId) -> Self {
        Self(format!("user:{user}").into())
    }

    /// The channel as it is written everywhere, `user:u_abc` or `channel:general`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The room's id where this is a room, else nothing.
    #[must_use]
    pub fn room_id(&self) -> Option<&str> {
        self.0.strip_prefix("channel:")
    }

    /// Whose private channel this is, where it is one.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.0.strip_prefix("user:")
    }

    /// Whether this is a room, and so has presence, typing and history.
    #[must_use]
    pub fn is_room(&self) -> bool {
        self.room_id().is_some()
    }
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        let (kind, id) = text.split_once(':').ok_or(InvalidChannel)?;
        if matches!(kind, "user" | "channel") && is_plain_id(id) { Ok(Self(text.into())) } else { Err(InvalidChannel) }
    }
}

/// The text is not a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a channel is `user:<id>` or `channel:<id>`, the id 1 to 64 of A-Z a-z 0-9 _ -")]
pub struct InvalidChannel;

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn channels_of_every_wrong_kind_are_refused() {
        for text in
            ["", ":", "channel:", "user:", "general", "room:general", "Channel:general", "channel:a b", "channel:a:b", "channel:é", "channel:a\0"]
        {
            assert_eq!(text.parse::<Channel>(), Err(InvalidChannel), "{text:?}");
        }
        assert!(format!("channel:{}", "a".repeat(64)).parse::<Channel>().is_ok());
        assert!(format!("channel:{}", "a".repeat(65)).parse::<Channel>().is_err());
    }

    proptest! {
        #[test]
        fn random_text_never_panics_and_what_parses_prints_back(text in "\\PC*") {
            if let Ok(channel) = text.parse::<Channel>() {
                prop_assert_eq!(channel.to_string(), text);
            }
        }

        #[test]
        fn every_well_formed_channel_parses(text in "(user|channel):[A-Za-z0-9_-]{1,64}") {
            prop_assert_eq!(text.parse::<Channel>().unwrap().to_string(), text);
        }
    }
}
