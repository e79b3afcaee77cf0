//! The cursor: a stream's place in all its channels at once, as one short text for `id:` and `Last-Event-ID`.
//!
//! Text: base64url without padding of
//! ```text
//! version 1 (1 byte) · minute of issue (4) · check (1)
//! { data set (4) · channels (varint) · { key (6) · generation (varint) · offset (varint) }… }…
//! ```
//! A channel's key is a hash of its name, but the stream's own `user:` channel has one fixed key: streams of different users
//! at the same places then have the same cursor, and can share one encoded frame. Several cursors may be joined by commas,
//! as a client does that takes up two rooms' histories in one stream. Refuses to know whether a place still exists: that is
//! the log's to say.

use std::{collections::HashMap, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    channel::Channel,
    log::{Epoch, Position},
    timestamp::Timestamp,
};

const VERSION: u8 = 1;
/// The longest text taken: 65 channels, each in a cursor of its own.
const MAX_TEXT: usize = 8 * 1024;

/// A channel's short name within a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of the stream's own `user:` channel.
    pub const OWN: Self = Self(0);

    /// The key of `channel`; of users' channels a stream has its own alone.
    #[must_use]
    pub fn of(channel: &Channel) -> Self {
        if !channel.is_room() {
            return Self::OWN;
        }
        // FNV-1a, 48 of its 64 bits; two channels of one stream that collide are told to start anew.
        let hash = channel.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self((hash >> 16).max(1))
    }
}

/// A stream's place in all its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// When it was made, in minutes since 1970: the log trusts no cursor older than its retention.
    minute: u32,
    places: HashMap<Key, Position>,
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

impl Cursor {
    /// The cursor at these places now.
    #[must_use]
    pub fn new(places: impl IntoIterator<Item = (Key, Position)>) -> Self {
        Self { minute: minute_now(), places: places.into_iter().collect() }
    }

    /// The place of a channel, where the cursor has one.
    #[must_use]
    pub fn place(&self, key: Key) -> Option<Position> {
        self.places.get(&key).copied()
    }

    /// How long ago it was made, in minutes.
    #[must_use]
    pub fn age_minutes(&self) -> u32 {
        minute_now().saturating_sub(self.minute)
    }
}

fn minute_now() -> u32 {
    u32::try_from(Timestamp::now().millis() / 60_000).unwrap_or(0)
}

/// Writes the cursor text of `places` behind `text`; the order of the places matters only for the sameness of two texts.
pub fn write(places: &[(Key, Position)], text: &mut Vec<u8>) {
    write_at(minute_now(), places, text);
}

fn write_at(minute: u32, places: &[(Key, Position)], text: &mut Vec<u8>) {
    let mut bytes = Vec::with_capacity(48);
    bytes.push(VERSION);
    bytes.extend(minute.to_be_bytes());
    bytes.push(0);
    let mut written: Vec<u32> = Vec::with_capacity(1);
    for (_, place) in places {
        let dataset = place.epoch.dataset();
        if written.contains(&dataset) {
            continue;
        }
        written.push(dataset);
        let group = places.iter().filter(|(_, place)| place.epoch.dataset() == dataset);
        bytes.extend(dataset.to_be_bytes());
        write_varint(&mut bytes, group.clone().count() as u64);
        for (key, place) in group {
            bytes.extend(&key.0.to_be_bytes()[2..]);
            write_varint(&mut bytes, u64::from(place.epoch.generation()));
            write_varint(&mut bytes, place.offset);
        }
    }
    bytes[5] = check(&bytes);
    let begin = text.len();
    text.resize(begin + bytes.len().div_ceil(3) * 4, 0);
    let length = URL_SAFE_NO_PAD.encode_slice(&bytes, &mut text[begin..]).expect("four characters for three bytes are enough");
    text.truncate(begin + length);
}

/// A sum over all but the check byte itself: tells a cursor from text that only looks like one.
fn check(bytes: &[u8]) -> u8 {
    bytes.iter().enumerate().filter(|(index, _)| *index != 5).fold(0x5a, |sum: u8, (_, byte)| sum.rotate_left(3) ^ byte)
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut places: Vec<_> = self.places.iter().map(|(key, place)| (*key, *place)).collect();
        places.sort_by_key(|(key, _)| *key);
        let mut text = Vec::new();
        write_at(self.minute, &places, &mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    /// Takes one cursor, or several joined by commas; where two of them name the same channel the first one counts, and the
    /// oldest gives its age.
    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > MAX_TEXT {
            return Err(InvalidCursor);
        }
        let mut cursors = text.split(',').map(parse_one);
        let mut joined = cursors.next().ok_or(InvalidCursor)??;
        for cursor in cursors {
            let cursor = cursor?;
            joined.minute = joined.minute.min(cursor.minute);
            for (key, place) in cursor.places {
                joined.places.entry(key).or_insert(place);
            }
        }
        Ok(joined)
    }
}

fn parse_one(text: &str) -> Result<Cursor, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
    let [VERSION, m0, m1, m2, m3, sum, rest @ ..] = bytes.as_slice() else { return Err(InvalidCursor) };
    if *sum != check(&bytes) {
        return Err(InvalidCursor);
    }
    let mut cursor = Cursor { minute: u32::from_be_bytes([*m0, *m1, *m2, *m3]), places: HashMap::new() };
    let mut reader = Reader(rest);
    while !reader.0.is_empty() {
        let dataset = u32::from_be_bytes(reader.take()?);
        for _ in 0..reader.varint()? {
            let key = Key(reader.take::<6>()?.iter().fold(0, |key, byte| key << 8 | u64::from(*byte)));
            let generation = u32::try_from(reader.varint()?).map_err(|_| InvalidCursor)?;
            let place = Position { epoch: Epoch::new(dataset, generation), offset: reader.varint()? };
            if cursor.places.insert(key, place).is_some() {
                return Err(InvalidCursor);
            }
        }
    }
    Ok(cursor)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], InvalidCursor> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(InvalidCursor)?;
        self.0 = rest;
        Ok(*head)
    }

    fn varint(&mut self) -> Result<u64, InvalidCursor> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(InvalidCursor);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(InvalidCursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn places() -> impl Strategy<Value = HashMap<Key, Position>> {
        let place = (any::<bool>(), any::<u32>(), any::<u64>())
            .prop_map(|(other, generation, offset)| Position { epoch: Epoch::new(if other { 7 } else { 8 }, generation), offset });
        btree_map(0_u64..1 << 48, place, 0..66).prop_map(|places| places.into_iter().map(|(key, place)| (Key(key), place)).collect())
    }

    proptest! {
        #[test]
        fn every_cursor_prints_and_parses_back(minute in any::<u32>(), places in places()) {
            let cursor = Cursor { minute, places };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn random_text_never_panics(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = text.parse::<Cursor>();
            let _ = URL_SAFE_NO_PAD.encode(&bytes).parse::<Cursor>();
            // Past the check byte, so that the parser's inside is reached as well.
            let mut bytes = [&[VERSION, 0, 0, 0, 0, 0], bytes.as_slice()].concat();
            bytes[5] = check(&bytes);
            let _ = URL_SAFE_NO_PAD.encode(&bytes).parse::<Cursor>();
        }
    }

    #[test]
    fn joined_cursors_have_the_places_of_all() {
        let place = |offset| Position { epoch: Epoch::new(1, 0), offset };
        let one = Cursor::new([(Key(1), place(5))]);
        let two = Cursor::new([(Key(1), place(9)), (Key(2), place(6))]);
        let joined: Cursor = format!("{one},{two}").parse().unwrap();
        assert_eq!((joined.place(Key(1)), joined.place(Key(2))), (Some(place(5)), Some(place(6))));
    }

    #[test]
    fn streams_of_different_users_at_the_same_places_have_the_same_cursor() {
        let text = |user: &str| {
            let user: crate::id::UserId = user.parse().unwrap();
            let place = Position { epoch: Epoch::new(1, 0), offset: 3 };
            let channels = ["channel:general".parse().unwrap(), Channel::of_user(&user)];
            Cursor { minute: 1, places: channels.iter().map(|channel| (Key::of(channel), place)).collect() }.to_string()
        };
        assert_eq!(text("u_1"), text("u_2"));
    }
}
