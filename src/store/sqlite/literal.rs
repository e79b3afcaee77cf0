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
    sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text},
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

/// The turn of a user's next job of a kind and priority: nobody starts behind the turn that is being served, and each waiting
/// job of a user stands one turn after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextTurn<'a> {
    pub user: &'a str,
    pub kind: &'a str,
    pub priority: i32,
}

impl QueryFragment<Sqlite> for NextTurn<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("max(coalesce((select min(turn) from job where state = 0 and kind = ");
        out.push_bind_param::<Text, _>(self.kind)?;
        out.push_sql(" and priority = ");
        out.push_bind_param::<Integer, _>(&self.priority)?;
        out.push_sql("), 0), coalesce((select max(turn) + 1 from job where state = 0 and user_id = ");
        out.push_bind_param::<Text, _>(self.user)?;
        out.push_sql(" and kind = ");
        out.push_bind_param::<Text, _>(self.kind)?;
        out.push_sql(" and priority = ");
        out.push_bind_param::<Integer, _>(&self.priority)?;
        out.push_sql("), 0))");
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
impl<From: ?Sized> SelectableExpression<From> for NextTurn<'_> {}

impl<GroupBy> ValidGrouping<GroupBy> for NextTurn<'_> {
    type IsAggregate = is_aggregate::Never;
}

/// What stands in a statement for a question mark.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bind<'a> {
    Number(i64),
    Text(&'a str),
    /// A text, or null.
    Perhaps(Option<&'a str>),
    Bytes(&'a [u8]),
}

/// A statement with a value for each question mark, and what it returns.
#[derive(Debug, Clone)]
pub(super) struct Statement<'a, Returns = ()> {
    sql: &'static str,
    binds: Vec<Bind<'a>>,
    returns: PhantomData<Returns>,
}

impl<'a, Returns> Statement<'a, Returns> {
    pub(super) fn new(sql: &'static str, binds: impl Into<Vec<Bind<'a>>>) -> Self {
        Self { sql, binds: binds.into(), returns: PhantomData }
    }
}

impl<Returns> QueryFragment<Sqlite> for Statement<'_, Returns> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut pieces = self.sql.split('?');
        out.push_sql(pieces.next().unwrap_or_default());
        for (bind, piece) in self.binds.iter().zip(pieces) {
            match bind {
                Bind::Number(number) => out.push_bind_param::<BigInt, _>(number)?,
                Bind::Text(text) => out.push_bind_param::<Text, str>(text)?,
                Bind::Perhaps(text) => out.push_bind_param::<Nullable<Text>, _>(text)?,
                Bind::Bytes(bytes) => out.push_bind_param::<Binary, [u8]>(bytes)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl<Returns> QueryId for Statement<'_, Returns> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Returns> Query for Statement<'_, Returns> {
    type SqlType = Returns;
}

impl<Returns> RunQueryDsl<SqliteConnection> for Statement<'_, Returns> {}
