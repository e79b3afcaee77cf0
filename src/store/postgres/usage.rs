//! Usage: added up by user, day, provider and model, and summed up for those who ask.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::{
    Queryable,
    result::Error,
    sql_types::{Array, BigInt, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{PostgresStore, literal::statement, unreadable};
use crate::{
    store::{StoreError, UsageEntry, UsageFilter, UsageStore, UsageSum},
    usage::{Amount, Cost, Day},
};

const ADD: &str = "insert into usage (user_id, day, provider, model, calls, estimated_calls, input_tokens, output_tokens, images, cost)
    select used.user_id, $1, used.provider, used.model, used.calls, used.estimated_calls, used.input_tokens, used.output_tokens, used.images, used.cost
    from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10)
        as used (user_id, provider, model, calls, estimated_calls, input_tokens, output_tokens, images, cost)
    on conflict (user_id, day, provider, model) do update set
        calls = usage.calls + excluded.calls,
        estimated_calls = usage.estimated_calls + excluded.estimated_calls,
        input_tokens = usage.input_tokens + excluded.input_tokens,
        output_tokens = usage.output_tokens + excluded.output_tokens,
        images = usage.images + excluded.images,
        cost = usage.cost + excluded.cost";

/// Adds what was used, today.
pub(super) async fn add<'a>(mut connection: &AsyncPgConnection, entries: impl Iterator<Item = &'a UsageEntry>) -> Result<(), Error> {
    // One row is changed once a statement, and all who add change rows in the same order.
    let mut sums: BTreeMap<(&str, &str, &str), Amount> = BTreeMap::new();
    for UsageEntry { user, provider, model, amount } in entries {
        *sums.entry((user.as_str(), provider, model)).or_default() += *amount;
    }
    if sums.is_empty() {
        return Ok(());
    }
    let numbers = |of: fn(&Amount) -> u64| sums.values().map(|amount| of(amount).cast_signed()).collect::<Vec<i64>>();
    statement::<()>(ADD)
        .bind::<BigInt, _>(Day::today().number())
        .bind::<Array<Text>, _>(sums.keys().map(|(user, ..)| *user).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(sums.keys().map(|(_, provider, _)| *provider).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(sums.keys().map(|(.., model)| *model).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(numbers(|amount| amount.calls))
        .bind::<Array<BigInt>, _>(numbers(|amount| amount.estimated_calls))
        .bind::<Array<BigInt>, _>(numbers(|amount| amount.input_tokens))
        .bind::<Array<BigInt>, _>(numbers(|amount| amount.output_tokens))
        .bind::<Array<BigInt>, _>(numbers(|amount| amount.images))
        .bind::<Array<BigInt>, _>(numbers(|amount| amount.cost.micros()))
        .execute(&mut connection)
        .await
        .map(drop)
}

/// The sums of a query: what is not kept apart is empty, and its day 0.
macro_rules! sums {
    ($condition:literal) => {
        concat!(
            "select case when $1 then day else 0 end, case when $2 then user_id else '' end, case when $3 then provider else '' end,
                case when $4 then model else '' end, sum(calls)::int8, sum(estimated_calls)::int8, sum(input_tokens)::int8,
                sum(output_tokens)::int8, sum(images)::int8, sum(cost)::int8
            from usage where day between $5 and $6 and ",
            $condition,
            " group by 1, 2, 3, 4 order by 1, 2, 3, 4 limit $8 offset $9"
        )
    };
}

const SUMS_OF_USER: &str = sums!("user_id = $7");
/// The user is empty, as none is.
const SUMS_OF_ALL: &str = sums!("user_id > $7");

#[derive(Queryable)]
struct Row {
    day: i64,
    user: String,
    provider: String,
    model: String,
    calls: i64,
    estimated_calls: i64,
    input_tokens: i64,
    output_tokens: i64,
    images: i64,
    cost: i64,
}

type Columns = (BigInt, Text, Text, Text, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);

impl Row {
    fn read(self, filter: &UsageFilter) -> Result<UsageSum, Error> {
        let amount = Amount {
            calls: self.calls.cast_unsigned(),
            estimated_calls: self.estimated_calls.cast_unsigned(),
            input_tokens: self.input_tokens.cast_unsigned(),
            output_tokens: self.output_tokens.cast_unsigned(),
            images: self.images.cast_unsigned(),
            cost: Cost::from_micros(self.cost.cast_unsigned()),
        };
        let by = filter.by;
        Ok(UsageSum {
            day: by.day.then(|| Day::from_number(self.day)),
            user: by.user.then(|| self.user.parse().map_err(|_| unreadable("user id"))).transpose()?,
            provider: by.provider.then_some(self.provider),
            model: by.model.then_some(self.model),
            amount,
        })
    }
}

async fn sums(mut connection: &AsyncPgConnection, filter: &UsageFilter) -> Result<Vec<UsageSum>, Error> {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let sums = statement::<Columns>(if filter.user.is_some() { SUMS_OF_USER } else { SUMS_OF_ALL })
        .bind::<Bool, _>(filter.by.day)
        .bind::<Bool, _>(filter.by.user)
        .bind::<Bool, _>(filter.by.provider)
        .bind::<Bool, _>(filter.by.model)
        .bind::<BigInt, _>(filter.first.number())
        .bind::<BigInt, _>(filter.last.number())
        .bind::<Text, _>(filter.user.as_ref().map_or("", |user| user.as_str()))
        .bind::<BigInt, _>(number(filter.limit))
        .bind::<BigInt, _>(number(filter.skip));
    let rows: Vec<Row> = sums.load(&mut connection).await?;
    rows.into_iter().map(|row| row.read(filter)).collect()
}

#[async_trait]
impl UsageStore for PostgresStore {
    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageSum>, StoreError> {
        self.statements(async move |connection, _| sums(connection, &filter).await).await
    }
}
