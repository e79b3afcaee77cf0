//! A server's SQLite file, opened past the server.

use std::path::Path;

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};

/// A connection that waits for its turn, as whoever has the file may be writing to it.
pub fn open(file: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    diesel::sql_query("pragma busy_timeout = 5000").execute(&mut connection).unwrap();
    connection
}
