//! The scripts: what Redis does in one step. They are sent by their hash, and in full where the server doesn't know them yet.

use std::sync::LazyLock;

use redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs, aio::ConnectionLike};

/// A script by its text and its hash.
pub struct Script {
    text: &'static str,
    hash: LazyLock<String>,
}

macro_rules! script {
    ($(#[$doc:meta])* $name:ident = $($file:literal),+) => {
        $(#[$doc])*
        pub static $name: Script = {
            const TEXT: &str = concat!($(include_str!(concat!("scripts/", $file))),+);
            Script { text: TEXT, hash: LazyLock::new(|| redis::Script::new(TEXT).get_hash().to_owned()) }
        };
    };
}

script! {
    /// Logs an event.
    PUBLISH = "place.lua", "publish.lua"
}
script! {
    /// The newest place of a channel.
    HEAD = "place.lua", "crowds.lua", "head.lua"
}
script! {
    /// What comes after a place.
    READ = "place.lua", "read.lua"
}
script! {
    /// A channel at one moment.
    SNAPSHOT = "place.lua", "snapshot.lua"
}

script! {
    /// Who has come to a process, and who has gone.
    ANNOUNCE = "announce.lua"
}
script! {
    /// Who is in a room at each process.
    PEOPLE = "crowds.lua", "people.lua"
}

/// A script with what it works on.
pub struct Call {
    script: &'static Script,
    by_hash: Cmd,
}

impl Script {
    /// A call of this script on these keys, all of one bucket.
    pub fn on(&'static self, keys: &[&str]) -> Call {
        let mut by_hash = redis::cmd("EVALSHA");
        by_hash.arg(self.hash.as_str()).arg(keys.len()).arg(keys);
        Call { script: self, by_hash }
    }
}

impl Call {
    /// With one more argument.
    pub fn with(mut self, argument: impl ToRedisArgs) -> Self {
        self.by_hash.arg(argument);
        self
    }

    /// Runs it.
    pub async fn run<T: FromRedisValue>(&self, connection: &mut impl ConnectionLike) -> RedisResult<T> {
        match self.by_hash.query_async(connection).await {
            // A server that has been started anew, or a node of the cluster that has not run it yet.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => self.in_full().query_async(connection).await,
            answer => answer,
        }
    }

    fn in_full(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.script.text);
        for argument in self.by_hash.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}
