//! What is counted of the way to Redis and back.

use crate::metrics::{Counter, Gauge, Histogram, Metric};

/// Events that were logged for this process.
pub static PUBLICATIONS: Metric<Counter> = Metric::new("persona_redis_publications_total", "Events that Redis has logged for this process.");

/// Connections for commands.
pub static CONNECTS: Metric<Counter> = Metric::new("persona_redis_connects_total", "How often a connection for commands was made.");

/// Connections for messages.
pub static SUBSCRIBER_CONNECTS: Metric<Counter> =
    Metric::new("persona_redis_subscriber_connects_total", "How often a connection of the subscriber was made.");

/// Messages over subscriptions.
pub static MESSAGES: Metric<Counter> = Metric::new("persona_redis_messages_total", "Messages that came over subscriptions.");

/// Comparisons of a channel's place with the log's.
pub static POSITION_CHECKS: Metric<Counter> =
    Metric::new("persona_redis_position_checks_total", "How often the place of a channel was compared with the log.");

/// Comparisons that found a lost message.
pub static HOLES: Metric<Counter> = Metric::new("persona_redis_holes_total", "Comparisons that found an event which had not arrived.");

/// What is subscribed to.
pub static TOPICS: Metric<Gauge> = Metric::new("persona_redis_topics", "Topics that this process is subscribed to.");

/// The way of a message to ourselves, once a second.
pub static LAG: Metric<Histogram> = Metric::new("persona_redis_lag_seconds", "How long a message to ourselves was under way.");
