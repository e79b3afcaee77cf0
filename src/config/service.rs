//! Settings of the service: where it listens, how, and how it stops.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use super::wrong::Wrong;
use crate::token::AdminToken;

#[derive(Debug, Clone, Args)]
pub struct ServiceSettings {
    /// Where to listen; port 0 picks a free one
    #[arg(long = "persona-listen", alias = "listen", env = "PERSONA_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: String,
    /// A PEM file with the certificate chain: serves HTTPS
    #[arg(long = "persona-tls-cert", env = "PERSONA_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key
    #[arg(long = "persona-tls-key", env = "PERSONA_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Serve HTTPS with a certificate made on the spot, for trying HTTP/2 in a browser
    #[arg(long)]
    dev_tls: bool,
    /// How long a client may take for its handshake, for the head of its first request, and for a body, in milliseconds
    #[arg(long = "persona-request-ms", env = "PERSONA_REQUEST_MS", default_value = "15000", value_name = "MS")]
    request_ms: String,
    /// Threads that serve HTTP [default: one a core, at most 8]
    #[arg(long = "persona-http-threads", env = "PERSONA_HTTP_THREADS", value_name = "COUNT")]
    http_threads: Option<String>,
    /// How long a guest's session lasts, in hours
    #[arg(long = "persona-session-hours", env = "PERSONA_SESSION_HOURS", default_value = "720", value_name = "HOURS")]
    session_hours: String,
    /// Who sends this as a bearer token administers: at least 16 visible characters; without it, nobody can
    #[arg(long = "persona-admin-token", env = "PERSONA_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// How long a server that stops still answers, so that whoever sends it clients sees that it is not ready, in milliseconds
    #[arg(long = "persona-drain-ms", env = "PERSONA_DRAIN_MS", default_value = "100", value_name = "MS")]
    drain_ms: String,
    /// How long a stop waits for running jobs and open requests, in seconds
    #[arg(long = "persona-stop-seconds", env = "PERSONA_STOP_SECONDS", default_value = "10", value_name = "SECONDS")]
    stop_seconds: String,
}

/// How the service serves.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    pub listen: SocketAddr,
    pub tls: Tls,
    pub request_within: Duration,
    pub http_threads: usize,
    pub session_lasts: Duration,
    pub admin: Option<AdminToken>,
    pub drain: Duration,
    pub stop_within: Duration,
}

/// Whether and how connections are encrypted.
#[derive(Debug, Clone)]
pub enum Tls {
    Off,
    /// A certificate made on the spot.
    Dev,
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
}

impl ServiceConfig {
    /// Where the server can be reached from its own machine.
    #[must_use]
    pub fn reachable(&self) -> SocketAddr {
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        address
    }
}

impl ServiceSettings {
    /// The administrator's token as it is given, to be shown to a server.
    pub(super) fn admin_token(&self) -> Option<&str> {
        self.admin_token.as_deref()
    }

    pub(super) fn read(&self, wrong: &mut Wrong) -> ServiceConfig {
        ServiceConfig {
            listen: self.listen.parse().unwrap_or_else(|_| {
                wrong.add("PERSONA_LISTEN", &self.listen, "an address and a port, such as 127.0.0.1:8080");
                SocketAddr::from(([127, 0, 0, 1], 0))
            }),
            tls: self.tls(wrong),
            request_within: wrong.millis(&self.request_ms, "PERSONA_REQUEST_MS", 1000),
            http_threads: match &self.http_threads {
                Some(text) => wrong.count(text, "PERSONA_HTTP_THREADS", 1),
                None => std::thread::available_parallelism().map_or(2, usize::from).min(8),
            },
            session_lasts: wrong.hours(&self.session_hours, "PERSONA_SESSION_HOURS"),
            admin: self.admin(wrong),
            drain: wrong.millis(&self.drain_ms, "PERSONA_DRAIN_MS", 100),
            stop_within: wrong.seconds(&self.stop_seconds, "PERSONA_STOP_SECONDS", 0),
        }
    }

    fn admin(&self, wrong: &mut Wrong) -> Option<AdminToken> {
        let token = self.admin_token.as_deref().filter(|token| !token.is_empty())?;
        // What a header can't carry nobody could send. The token is not shown.
        if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            wrong.say("PERSONA_ADMIN_TOKEN: expected at least 16 visible ASCII characters".into());
        }
        Some(AdminToken::new(token))
    }

    fn tls(&self, wrong: &mut Wrong) -> Tls {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Tls::Files { cert: cert.clone(), key: key.clone() },
            (None, None) if self.dev_tls => Tls::Dev,
            (None, None) => Tls::Off,
            _ => {
                wrong.say("PERSONA_TLS_CERT and PERSONA_TLS_KEY: expected both or none".into());
                Tls::Off
            }
        }
    }
}
