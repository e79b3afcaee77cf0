//! What an error of the database means: run it again, look first, or say so.
//!
//! diesel tells a failure to serialise apart from the rest and hides the other codes, so those are known by their words, which
//! CockroachDB always, and PostgreSQL in its default language, says in English.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

use crate::store::StoreError;

/// What has gone wrong with a transaction, by what may follow.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was rolled back in favour of another (40001, a deadlock): the whole of it may run again.
    Conflict(String),
    /// The connection is gone, or leads to where nothing can be written, and the commit was not sent: nothing has happened.
    Lost(String),
    /// The connection is gone and the commit was sent, or its outcome is unknown (40003): whoever runs it again looks first.
    Ambiguous(String),
    /// Running it again at once would not help.
    Final(StoreError),
}

impl Fault {
    /// Of a statement before the commit.
    pub(super) fn of_statement(error: Error) -> Self {
        match error {
            Error::DatabaseError(DatabaseErrorKind::SerializationFailure, info) => Self::Conflict(text(&*info)),
            // Where it may only read, another connection may lead to the server that has taken over.
            Error::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::ReadOnlyTransaction,
                info,
            ) => Self::Lost(text(&*info)),
            Error::DatabaseError(_, info) => Self::of_words(text(&*info)),
            other => Self::Final(StoreError::Refused(other.to_string())),
        }
    }

    /// Of the commit itself, or of a statement that is a transaction of its own.
    pub(super) fn of_commit(error: Error) -> Self {
        let is_refused = matches!(error, Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _));
        match Self::of_statement(error) {
            Self::Lost(text) if !is_refused => Self::Ambiguous(text),
            other => other,
        }
    }

    /// Of a connection that could not be had.
    pub(super) fn of_connecting(text: String) -> Self {
        Self::Final(StoreError::Unavailable(text))
    }

    fn of_words(text: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["restart transaction", "deadlock detected", "could not serialize"]) {
            Self::Conflict(text)
        } else if says(&["result is ambiguous"]) {
            Self::Ambiguous(text)
        } else if says(&["terminating connection", "server closed", "server is shutting down", "not accepting clients"]) {
            Self::Lost(text)
        } else if says(&["No space left on device", "could not extend file"]) {
            Self::Final(StoreError::Full(text))
        } else if says(WAITED_TOO_LONG) {
            Self::Final(StoreError::Unavailable(text))
        } else {
            Self::Final(StoreError::Refused(text))
        }
    }

    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Conflict(text) | Self::Lost(text) | Self::Ambiguous(text) => StoreError::Unavailable(text),
            Self::Final(error) => error,
        }
    }
}

const WAITED_TOO_LONG: &[&str] = &[
    "due to statement timeout",
    "due to lock timeout",
    "due to user request",
    "query execution canceled",
    "too many clients",
    "remaining connection slots",
    "starting up",
    "shutting down",
    "in recovery mode",
    "lost quorum",
    "replica unavailable",
    "node unavailable",
];

fn text(info: &dyn DatabaseErrorInformation) -> String {
    match info.details() {
        Some(details) => format!("{}: {details}", info.message()),
        None => info.message().to_owned(),
    }
}
