//! What is published on a channel's topic, beside what the scripts publish themselves.

use bytes::Bytes;

use super::placed;
use crate::log::{
    Position,
    elsewhere::{Changes, Instance, Typing},
};

/// A message on a channel's topic.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// `e<data set> <generation> <offset> <event>`: an event was logged.
    Logged { position: Position, json: Bytes },
    /// `p<instance> <version> <changes>`: who has come to a process, and who has gone.
    Changed { at: Instance, version: u64, changes: Changes },
    /// `w<instance>`: a process has written anew who is there.
    Written { at: Instance },
    /// `t<instance> <typing>`: somebody types.
    Typing { at: Instance, typing: Typing },
}

impl Message {
    /// The message in what came.
    pub fn parse(content: &Bytes) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let (kind, rest) = text.split_at_checked(1)?;
        if kind == "e" {
            let mut words = rest.splitn(4, ' ');
            let position = placed(words.next()?, words.next()?, words.next()?)?;
            return Some(Self::Logged { position, json: content.slice_ref(words.next()?.as_bytes()) });
        }
        let (at, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let at = at.parse().ok()?;
        match kind {
            "p" => {
                let (version, changes) = rest.split_once(' ')?;
                Some(Self::Changed { at, version: version.parse().ok()?, changes: serde_json::from_str(changes).ok()? })
            }
            "w" => Some(Self::Written { at }),
            "t" => Some(Self::Typing { at, typing: serde_json::from_str(rest).ok()? }),
            _ => None,
        }
    }

    /// `p…`.
    pub fn changed(at: Instance, version: u64, changes: &Changes) -> String {
        format!("p{at} {version} {}", super::json(changes))
    }

    /// `w…`.
    pub fn written(at: Instance) -> String {
        format!("w{at}")
    }

    /// `t…`.
    pub fn typing(at: Instance, typing: &Typing) -> String {
        format!("t{at} {}", super::json(typing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Person;

    #[test]
    fn messages_are_read_as_they_are_written() {
        let at = Instance::new();
        let changes =
            Changes { joined: vec![Person { user_id: "ada".parse().unwrap(), user_name: "Ada L.".into() }], left: vec!["bob".parse().unwrap()] };
        let typing = Typing { user_id: "ada".parse().unwrap(), is_typing: true };
        let read = |text: String| Message::parse(&Bytes::from(text));
        assert_eq!(read(Message::changed(at, 7, &changes)), Some(Message::Changed { at, version: 7, changes }));
        assert_eq!(read(Message::written(at)), Some(Message::Written { at }));
        assert_eq!(read(Message::typing(at, &typing)), Some(Message::Typing { at, typing }));
        for text in ["", "x", "p", "pzz 1 {}", "p1 x {}", "p1 1 {", "w", "t1", "e1 2", "é"] {
            assert_eq!(read(text.into()), None, "{text:?}");
        }
    }
}
