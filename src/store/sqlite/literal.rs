//! SQL in literal words, which SQLite prepares once and diesel keeps.
//!
//! diesel prepares anew, at each call, whatever it can't know to be the same text each time: every UPDATE, `sql_query`, and
//! queries with a `dsl::sql` in them. For what runs thousands of times a second that costs more than the statement itself.
//! Refuses to be for anything else: the rest is written in diesel's own words.

use std::marker::PhantomData;

use diesel::{
    AppearsOnTable, Expression, QueryResult, RunQueryDsl, SelectableExpression, SqliteConnection,
    expression::{ValidGrouping, is_aggregate},
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Bool, Text},
    sqlite::Sqlite,
};

/// A predicate that is always the same text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Predicate(pub &'static str);

impl QueryFragment<Sqlite> for Predicate {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl QueryId for Predicate {
    type QueryId = ();
    // Its type doesn't tell the text, so diesel keeps the query by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Expression for Predicate {
    type SqlType = Bool;
}

impl<From: ?Sized> AppearsOnTable<From> for Predicate {}
impl<From: ?Sized> SelectableExpression<From> for Predicate {}

impl<GroupBy> ValidGrouping<GroupBy> for Predicate {
    type IsAggregate = is_aggregate::Never;
}

/// The turn of a user's next job: nobody starts behind the turn that is being served, and each waiting job of a user stands
/// one turn after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextTurn<'a> {
    pub user: &'a str,
}

impl QueryFragment<Sqlite> for NextTurn<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("max(coalesce((select min(turn) from job where state = 0), 0), coalesce((select max(turn) + 1 from job where user_id = ");
        out.push_bind_param::<Text, _>(self.user)?;
        out.push_sql(" and state in (0, 1, 2)), 0))");
        Ok(())
    }
}

impl QueryId for NextTurn<'_> {
    type QueryId = NextTurn<'static>;
}

impl Expression for NextTurn<'_> {
    type SqlType = BigInt;
}

impl<From: ?Sized> AppearsOnTable<From> for NextTurn<'_> {}

/// A statement with a number for each question mark, and what it returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<const N: usize, Returns = ()> {
    sql: &'static str,
    numbers: [i64; N],
    returns: PhantomData<Returns>,
}

impl<const N: usize, Returns> Statement<N, Returns> {
    pub(super) fn new(sql: &'static str, numbers: [i64; N]) -> Self {
        Self { sql, numbers, returns: PhantomData }
    }
}

impl<const N: usize, Returns> QueryFragment<Sqlite> for Statement<N, Returns> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut pieces = self.sql.split('?');
        out.push_sql(pieces.next().unwrap_or_default());
        for (number, piece) in self.numbers.iter().zip(pieces) {
            out.push_bind_param::<BigInt, _>(number)?;
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl<const N: usize, Returns> QueryId for Statement<N, Returns> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<const N: usize, Returns> Query for Statement<N, Returns> {
    type SqlType = Returns;
}

impl<const N: usize, Returns> RunQueryDsl<SqliteConnection> for Statement<N, Returns> {}
