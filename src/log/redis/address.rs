//! Where Redis is: one server, or some nodes of a cluster.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

/// Where Redis is, and how the product's keys there begin.
#[derive(Clone)]
pub struct RedisAddress {
    nodes: Vec<ConnectionInfo>,
    prefix: String,
}

/// The text is not an address of Redis. It may hold a password and is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected redis://HOST:PORT or rediss://HOST:PORT, several nodes of a cluster joined by commas")]
pub struct InvalidAddress;

impl RedisAddress {
    /// The address in a text: one URL, or several joined by commas, of nodes that form one cluster.
    ///
    /// # Errors
    /// Where one of them is no URL of a Redis server.
    pub fn parse(urls: &str, prefix: &str) -> Result<Self, InvalidAddress> {
        let node = |url: &str| {
            let info = url.trim().into_connection_info().map_err(|_| InvalidAddress)?;
            if matches!(info.addr(), ConnectionAddr::Unix(_)) {
                return Err(InvalidAddress);
            }
            // Replies and messages share a connection in the third version of the protocol alone.
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok(info.set_redis_settings(settings))
        };
        Ok(Self { nodes: urls.split(',').map(node).collect::<Result<_, _>>()?, prefix: prefix.to_owned() })
    }

    /// Whoever of these answers knows the rest.
    pub(super) fn nodes(&self) -> &[ConnectionInfo] {
        &self.nodes
    }

    /// How every key begins.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(redacted).collect();
        f.debug_struct("RedisAddress").field("nodes", &nodes).field("prefix", &self.prefix).finish()
    }
}

/// The node as a URL, without its password.
fn redacted(node: &ConnectionInfo) -> String {
    let scheme = if matches!(node.addr(), ConnectionAddr::TcpTls { .. }) { "rediss" } else { "redis" };
    let settings = node.redis_settings();
    let user = settings.username().unwrap_or_default();
    let who = match settings.password() {
        Some(_) => format!("{user}:…@"),
        None => String::new(),
    };
    format!("{scheme}://{who}{}/{}", node.addr(), settings.db())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let address = RedisAddress::parse("rediss://ada:open-sesame@cache.example:6380/2, redis://b:7000", "p:").unwrap();
        assert_eq!(format!("{address:?}"), r#"RedisAddress { nodes: ["rediss://ada:…@cache.example:6380/2", "redis://b:7000/0"], prefix: "p:" }"#);
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "cache.example", "http://cache.example", "redis://a,", "unix:///run/redis.sock"] {
            assert!(RedisAddress::parse(text, "p:").is_err(), "{text:?}");
        }
    }
}
