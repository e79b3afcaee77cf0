//! What things are called in Redis, and where on a cluster they lie.
//!
//! Channels are dealt into a fixed number of buckets. All keys of a bucket share a hash tag and so lie on one node of a
//! cluster: a script may use a channel's keys and its bucket's at once, and a sharded message goes the same way. Refuses to
//! talk to Redis.

use crate::channel::Channel;

/// How many buckets there are. Fixed for ever: another number would look for old channels in the wrong places.
pub const BUCKETS: u16 = 1024;
/// How many hash slots a cluster has: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
pub const SLOTS: u16 = 16_384;

/// Where channels that share a node's keys lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of a channel.
    pub fn of(channel: &Channel) -> Self {
        Self(crc16(channel.as_str().as_bytes()) % BUCKETS)
    }

    /// The bucket of this number, counted around.
    pub fn number(number: u64) -> Self {
        Self((number % u64::from(BUCKETS)) as u16)
    }

    /// The cluster's slot that all its keys and topics are in.
    pub fn slot(self) -> u16 {
        crc16(self.0.to_string().as_bytes()) % SLOTS
    }
}

/// The names of one product's keys.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

/// The names of one channel's keys.
#[derive(Debug)]
pub struct ChannelKeys {
    /// The bucket's hash: its data set, and how many channels it has begun.
    pub bucket: String,
    /// The channel's hash: generation, newest offset, bytes, fences, outbox ids.
    pub channel: String,
    /// The stream of its events.
    pub entries: String,
    /// The messages among its events, by offset.
    pub messages: String,
    /// Its replies that are streaming.
    pub running: String,
    /// Which processes have somebody in it, and of which version.
    pub present: String,
    /// Who is in it at a process, whose number follows.
    pub people: String,
    /// The lease of a process, whose number follows.
    pub leases: String,
    /// Where its events are published.
    pub topic: String,
}

impl Keys {
    /// Names that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The names of a channel's keys.
    pub fn of(&self, channel: &Channel) -> ChannelKeys {
        let bucket = self.bucket(Bucket::of(channel));
        ChannelKeys {
            channel: format!("{bucket}:channel:{channel}"),
            entries: format!("{bucket}:entries:{channel}"),
            messages: format!("{bucket}:messages:{channel}"),
            running: format!("{bucket}:running:{channel}"),
            present: format!("{bucket}:present:{channel}"),
            people: format!("{bucket}:people:{channel}:"),
            leases: format!("{bucket}:lease:"),
            topic: format!("{bucket}:topic:{channel}"),
            bucket,
        }
    }

    /// Where a channel's events are published.
    pub fn topic(&self, channel: &Channel) -> String {
        format!("{}:topic:{channel}", self.bucket(Bucket::of(channel)))
    }

    /// Something else that lies in a bucket.
    pub fn within(&self, bucket: Bucket, name: &str) -> String {
        format!("{}:{name}", self.bucket(bucket))
    }

    /// A bucket's own hash.
    pub fn bucket(&self, Bucket(number): Bucket) -> String {
        format!("{}{{{number}}}", self.prefix)
    }
}

/// CRC-16/XMODEM, as the cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // `CLUSTER KEYSLOT 17`, asked of a server.
        assert_eq!(Bucket(17).slot(), 12_304);
    }

    #[test]
    fn all_keys_of_a_channel_have_one_hash_tag() {
        let channel = "channel:general".parse().unwrap();
        let ChannelKeys { bucket, channel, entries, messages, running, present, people, leases, topic } = Keys::new("persona:").of(&channel);
        let tag = |key: &str| key.split_once('{').unwrap().1.split_once('}').unwrap().0.to_owned();
        for key in [&channel, &entries, &messages, &running, &present, &people, &leases, &topic] {
            assert_eq!(tag(key), tag(&bucket));
        }
    }
}
