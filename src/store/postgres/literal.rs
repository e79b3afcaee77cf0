//! Statements in literal SQL, which are prepared once a connection and kept.
//!
//! diesel's `sql_query` would prepare anew at each call, and its query builder has no words for `unnest`, by which one
//! statement takes a whole batch. What is typed as a parameter is bound in binary form, what is returned is read as
//! diesel reads it. Refuses to put a value into the text: the text is a constant.

use std::marker::PhantomData;

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::Error,
    serialize::ToSql,
    sql_types::HasSqlType,
};

/// A statement, the values of its `$1`, `$2`…, and the types of what it returns.
///
/// A parameter may be used again, but its first use comes before that of the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<Values, Returns> {
    sql: &'static str,
    values: Values,
    returns: PhantomData<Returns>,
}

/// A statement without values yet, which returns rows of `Returns`; `()` where it returns none.
pub(super) fn statement<Returns>(sql: &'static str) -> Statement<(), Returns> {
    Statement { sql, values: (), returns: PhantomData }
}

impl<Values, Returns> Statement<Values, Returns> {
    /// Gives the next parameter its type and its value.
    pub(super) fn bind<Type, Value>(self, value: Value) -> Statement<(Values, Bound<Type, Value>), Returns> {
        Statement { sql: self.sql, values: (self.values, Bound { value, of: PhantomData }), returns: PhantomData }
    }
}

/// A value of a type of SQL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<Type, Value> {
    value: Value,
    of: PhantomData<Type>,
}

/// The values of a statement, in their order.
pub(super) trait Values {
    const COUNT: usize;

    /// Writes the place of the value `index` and hands the value over.
    fn push<'b>(&'b self, index: usize, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

impl Values for () {
    const COUNT: usize = 0;

    fn push<'b>(&'b self, index: usize, _: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        Err(Error::QueryBuilderError(format!("parameter ${} has no value", index + 1).into()))
    }
}

impl<Before: Values, Type, Value: ToSql<Type, Pg>> Values for (Before, Bound<Type, Value>)
where
    Pg: HasSqlType<Type>,
{
    const COUNT: usize = Before::COUNT + 1;

    fn push<'b>(&'b self, index: usize, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if index == Before::COUNT { out.push_bind_param::<Type, _>(&self.1.value) } else { self.0.push(index, out) }
    }
}

impl<V: Values, Returns> QueryFragment<Pg> for Statement<V, Returns> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut pieces = self.sql.split('$');
        out.push_sql(pieces.next().unwrap_or_default());
        let mut pushed = 0;
        for piece in pieces {
            let digits = piece.len() - piece.trim_start_matches(|char: char| char.is_ascii_digit()).len();
            let (number, rest) = piece.split_at(digits);
            if number.parse() == Ok(pushed + 1) {
                self.values.push(pushed, &mut out)?;
                pushed += 1;
            } else {
                out.push_sql("$");
                out.push_sql(number);
            }
            out.push_sql(rest);
        }
        if pushed == V::COUNT { Ok(()) } else { Err(Error::QueryBuilderError(format!("{pushed} parameters, {} values", V::COUNT).into())) }
    }
}

impl<V, Returns> QueryId for Statement<V, Returns> {
    type QueryId = ();
    // Its type doesn't tell the text, so diesel keeps the statement by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<V, Returns> Query for Statement<V, Returns> {
    type SqlType = Returns;
}
