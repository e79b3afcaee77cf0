//! Statements that go out together, so that two cost one trip to the database and back.
//!
//! They run in the order in which they are given. Refuses to tell the aftermath for the cause: where one fails, the database
//! refuses what comes behind it in the same transaction, and that is no news.

use diesel::result::Error;

/// Sends both, and waits for both.
///
/// # Errors
/// The one that failed by itself.
pub(super) async fn both<A, B>(
    first: impl Future<Output = Result<A, Error>>,
    second: impl Future<Output = Result<B, Error>>,
) -> Result<(A, B), Error> {
    match tokio::join!(first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        (Err(first), Err(second)) => Err(if is_aftermath(&first) { second } else { first }),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn is_aftermath(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, info) if info.message().contains("current transaction is aborted"))
}
