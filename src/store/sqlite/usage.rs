//! Usage: added up by user, day, provider and model, and summed up for those who ask.

use async_trait::async_trait;
use diesel::{
    QueryableByName, RunQueryDsl, SqliteConnection,
    result::Error,
    sql_types::{BigInt, Text},
};

use super::{SqliteStore, unreadable};
use crate::{
    store::{StoreError, UsageEntry, UsageFilter, UsageStore, UsageSum},
    usage::{Amount, Cost, Day},
};

/// Adds what was used, today.
pub(super) fn add(connection: &mut SqliteConnection, entries: &[UsageEntry]) -> Result<(), Error> {
    for UsageEntry { user, provider, model, amount } in entries {
        let Amount { calls, estimated_calls, input_tokens, output_tokens, images, cost } = *amount;
        diesel::sql_query(ADD)
            .bind::<Text, _>(user.as_str())
            .bind::<BigInt, _>(Day::today().number())
            .bind::<Text, _>(provider)
            .bind::<Text, _>(model)
            .bind::<BigInt, _>(calls.cast_signed())
            .bind::<BigInt, _>(estimated_calls.cast_signed())
            .bind::<BigInt, _>(input_tokens.cast_signed())
            .bind::<BigInt, _>(output_tokens.cast_signed())
            .bind::<BigInt, _>(images.cast_signed())
            .bind::<BigInt, _>(cost.micros().cast_signed())
            .execute(connection)?;
    }
    Ok(())
}

const ADD: &str = "insert into usage (user_id, day, provider, model, calls, estimated_calls, input_tokens, output_tokens, images, cost)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (user_id, day, provider, model) do update set
        calls = usage.calls + excluded.calls,
        estimated_calls = usage.estimated_calls + excluded.estimated_calls,
        input_tokens = usage.input_tokens + excluded.input_tokens,
        output_tokens = usage.output_tokens + excluded.output_tokens,
        images = usage.images + excluded.images,
        cost = usage.cost + excluded.cost";

/// The sums of a query: what is not kept apart is empty, and its day 0.
macro_rules! sums {
    ($condition:literal) => {
        concat!(
            "select case when ? = 1 then day else 0 end as day_key, case when ? = 1 then user_id else '' end as user_key,
                case when ? = 1 then provider else '' end as provider_key, case when ? = 1 then model else '' end as model_key,
                cast(sum(calls) as bigint) as calls, cast(sum(estimated_calls) as bigint) as estimated_calls,
                cast(sum(input_tokens) as bigint) as input_tokens, cast(sum(output_tokens) as bigint) as output_tokens,
                cast(sum(images) as bigint) as images, cast(sum(cost) as bigint) as cost
            from usage where day between ? and ?",
            $condition,
            " group by 1, 2, 3, 4 order by 1, 2, 3, 4 limit ? offset ?"
        )
    };
}

const SUMS_OF_USER: &str = sums!(" and user_id = ?");
const SUMS_OF_ALL: &str = sums!("");

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    day_key: i64,
    #[diesel(sql_type = Text)]
    user_key: String,
    #[diesel(sql_type = Text)]
    provider_key: String,
    #[diesel(sql_type = Text)]
    model_key: String,
    #[diesel(sql_type = BigInt)]
    calls: i64,
    #[diesel(sql_type = BigInt)]
    estimated_calls: i64,
    #[diesel(sql_type = BigInt)]
    input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    output_tokens: i64,
    #[diesel(sql_type = BigInt)]
    images: i64,
    #[diesel(sql_type = BigInt)]
    cost: i64,
}

impl Row {
    fn amount(&self) -> Amount {
        Amount {
            calls: self.calls.cast_unsigned(),
            estimated_calls: self.estimated_calls.cast_unsigned(),
            input_tokens: self.input_tokens.cast_unsigned(),
            output_tokens: self.output_tokens.cast_unsigned(),
            images: self.images.cast_unsigned(),
            cost: Cost::from_micros(self.cost.cast_unsigned()),
        }
    }

    fn read(self, filter: &UsageFilter) -> Result<UsageSum, Error> {
        let (by, amount) = (filter.by, self.amount());
        let user = by.user.then(|| self.user_key.parse().map_err(|_| unreadable("user id"))).transpose()?;
        Ok(UsageSum {
            day: by.day.then(|| Day::from_number(self.day_key)),
            user,
            provider: by.provider.then_some(self.provider_key),
            model: by.model.then_some(self.model_key),
            amount,
        })
    }
}

fn sums(connection: &mut SqliteConnection, filter: &UsageFilter) -> Result<Vec<UsageSum>, Error> {
    let sql = if filter.user.is_some() { SUMS_OF_USER } else { SUMS_OF_ALL };
    let mut query = diesel::sql_query(sql).into_boxed();
    for key in [filter.by.day, filter.by.user, filter.by.provider, filter.by.model] {
        query = query.bind::<BigInt, _>(i64::from(key));
    }
    query = query.bind::<BigInt, _>(filter.first.number()).bind::<BigInt, _>(filter.last.number());
    if let Some(user) = &filter.user {
        query = query.bind::<Text, _>(user.as_str());
    }
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    query = query.bind::<BigInt, _>(number(filter.limit)).bind::<BigInt, _>(number(filter.skip));
    query.load::<Row>(connection)?.into_iter().map(|row| row.read(filter)).collect()
}

#[async_trait]
impl UsageStore for SqliteStore {
    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageSum>, StoreError> {
        self.readers.call(move |connection| sums(connection, &filter)).await
    }
}
