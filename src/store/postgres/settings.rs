//! Which database, and how it is talked to.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::SslMode;

/// How the store talks to PostgreSQL or CockroachDB.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    pub url: DatabaseUrl,
    /// The most connections of this process.
    pub connections: usize,
    /// How long a statement, a wait for a lock, and a wait for a connection may last.
    pub timeout: Duration,
    pub isolation: Isolation,
}

/// What transactions may see of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// What suits the engine: READ COMMITTED on PostgreSQL, SERIALIZABLE on CockroachDB.
    OfEngine,
    ReadCommitted,
    Serializable,
}

/// Where a database is and who asks; never printed.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(super) server: tokio_postgres::Config,
    pub(super) tls: Option<TlsFiles>,
}

/// What an encrypted connection is verified with; where no authority is named, the system's are trusted.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsFiles {
    pub authority: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls.is_some() { "encrypted" } else { "in the clear" };
        write!(f, "DatabaseUrl({:?} at {:?}, {tls})", self.server.get_dbname().unwrap_or_default(), self.server.get_hosts())
    }
}

/// The text is not such a URL. Says nothing of the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    #[error("is not postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Form,
    #[error("has an unknown sslmode; there are disable, require and verify-full")]
    SslMode,
    #[error("has no database")]
    NoDatabase,
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    /// libpq's form. `sslmode=require`, `verify-ca` and `verify-full` all encrypt and verify the server's certificate and
    /// name; without one of them nothing is encrypted. `sslrootcert`, `sslcert` and `sslkey` name PEM files.
    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(InvalidDatabaseUrl::Form);
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut kept, mut files, mut is_encrypted) = (Vec::new(), TlsFiles::default(), false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(InvalidDatabaseUrl::Form)?;
            let path = || Some(PathBuf::from(percent_decode_str(value).decode_utf8_lossy().into_owned()));
            match name {
                "sslmode" => is_encrypted = encrypts(value)?,
                "sslrootcert" => files.authority = path(),
                "sslcert" => files.certificate = path(),
                "sslkey" => files.key = path(),
                _ => kept.push(pair),
            }
        }
        let mut server: tokio_postgres::Config = format!("{place}?{}", kept.join("&")).parse().map_err(|_| InvalidDatabaseUrl::Form)?;
        if server.get_dbname().is_none() {
            return Err(InvalidDatabaseUrl::NoDatabase);
        }
        server.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
        Ok(Self { server, tls: is_encrypted.then_some(files) })
    }
}

fn encrypts(mode: &str) -> Result<bool, InvalidDatabaseUrl> {
    match mode {
        "disable" | "allow" | "prefer" => Ok(false),
        "require" | "verify-ca" | "verify-full" => Ok(true),
        _ => Err(InvalidDatabaseUrl::SslMode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_libpq_takes_them() {
        let url: DatabaseUrl =
            "postgresql://ada:s%40cret@db.example:26257/persona?sslmode=verify-full&sslrootcert=%2Fcerts/ca.crt&application_name=x".parse().unwrap();
        assert_eq!((url.server.get_user(), url.server.get_password()), (Some("ada"), Some(&b"s@cret"[..])));
        assert_eq!((url.server.get_dbname(), url.server.get_ports()), (Some("persona"), &[26257][..]));
        assert_eq!(url.tls.as_ref().unwrap().authority.as_deref(), Some(std::path::Path::new("/certs/ca.crt")));
        let shown = format!("{url:?}");
        assert!(shown.contains("db.example") && shown.contains("encrypted") && !shown.contains("cret"), "{shown}");
        assert!("postgres://db/persona".parse::<DatabaseUrl>().unwrap().tls.is_none());
    }

    #[test]
    fn a_url_that_is_wrong_is_refused_without_being_told() {
        for text in ["", "mysql://a:hunter2@db/x", "postgres://a:hunter2@db:port/x", "postgres://db/x?sslmode=perhaps", "postgres://a:hunter2@db"] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
