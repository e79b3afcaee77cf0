//! Every metric that this process keeps, whoever's matter it is.

use crate::{api, log, metrics::Exposed, outbox, realtime, worker};

/// All of them, in the order in which they are written; `docs/metrics.md` has the same.
pub static METRICS: &[&dyn Exposed] = &[
    &worker::metrics::CLAIMS,
    &worker::metrics::EMPTY_CLAIMS,
    &realtime::metrics::LOG_READS,
    &api::ACCEPTED,
    &outbox::PUBLISHED,
    &log::metrics::PUBLICATIONS,
    &log::metrics::CONNECTS,
    &log::metrics::SUBSCRIBER_CONNECTS,
    &log::metrics::MESSAGES,
    &log::metrics::POSITION_CHECKS,
    &log::metrics::HOLES,
    &log::metrics::TOPICS,
    &log::metrics::LAG,
    &worker::metrics::HEARTBEATS,
    &worker::metrics::LEASES_LOST,
    &worker::metrics::RESCUED,
    &worker::metrics::WAITED,
    &worker::metrics::RAN,
    &worker::metrics::OUTCOMES,
];
