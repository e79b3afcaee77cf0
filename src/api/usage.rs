//! `GET /api/usage`: what was used of which model, on which days. Everybody sees their own, the administrator everybody's.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{State, admin::Asker, body, error::ApiError};
use crate::{
    id::UserId,
    store::{UsageFilter, UsageKeys, UsageSum},
    timestamp::Timestamp,
    usage::{Amount, Cost, DailyLimits, Day},
};

/// The most days that are summed up at once.
const MAX_DAYS: i64 = 366;
/// How many days are shown where nobody says it.
const DAYS: i64 = 30;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    first: Day,
    last: Day,
    usage: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_skip: Option<usize>,
    total: Amount,
    /// How one user stands today.
    #[serde(skip_serializing_if = "Option::is_none")]
    today: Option<Today>,
}

#[derive(Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<Day>,
    #[serde(rename = "userId", skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(flatten)]
    amount: Amount,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Today {
    tokens: u64,
    images: u64,
    cost: Cost,
    limits: Limits,
    /// When the next day begins, and limits count from nothing again.
    resets_at: Timestamp,
}

/// What is absent has no limit.
#[derive(Serialize)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

impl From<UsageSum> for Line {
    fn from(UsageSum { day, user, provider, model, amount }: UsageSum) -> Self {
        Self { day, user, provider, model, amount }
    }
}

impl Today {
    fn new(used: &Amount, limits: DailyLimits) -> Self {
        let DailyLimits { tokens, images, cost } = limits;
        let limits = Limits { tokens, images, cost };
        Self { tokens: used.tokens(), images: used.images, cost: used.cost, limits, resets_at: Day::today().end() }
    }
}

/// Sums of what was used.
///
/// # Errors
/// Where a parameter is wrong, asks for what is another's, or the store can't be read.
pub async fn show(state: Data<State>, asker: Asker, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(request.query_string())?;
    let filter = filter(&query, &asker)?;
    let all = UsageFilter { by: UsageKeys::default(), skip: 0, limit: 1, ..filter.clone() };
    let (skip, limit) = (filter.skip, filter.limit);
    let today = match &filter.user {
        Some(user) => Some(Today::new(&state.store.used_by(user, Day::today()).await?, state.daily_limits)),
        None => None,
    };
    let (first, last) = (filter.first, filter.last);
    let mut sums = state.store.usage(UsageFilter { limit: limit + 1, ..filter }).await?;
    let next_skip = (sums.len() > limit).then_some(skip + limit);
    sums.truncate(limit);
    let total = state.store.usage(all).await?.first().map(|sum| sum.amount).unwrap_or_default();
    let report = Report { first, last, usage: sums.into_iter().map(Line::from).collect(), next_skip, total, today };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(report))
}

fn filter(query: &[(String, String)], asker: &Asker) -> Result<UsageFilter, ApiError> {
    const RIGHT: &str = "must be a day, such as 2026-11-25";
    let last: Day = body::parameter(query, "last", RIGHT)?.unwrap_or_else(Day::today);
    let first: Day = body::parameter(query, "first", RIGHT)?.unwrap_or_else(|| last.before(DAYS - 1));
    if !(0..MAX_DAYS).contains(&(last.number() - first.number())) {
        return Err(ApiError::invalid_field("first", format!("must be a day from {} to `last`, {last}", last.before(MAX_DAYS - 1))));
    }
    let asked: Option<UserId> = body::parameter(query, "user", "must be the id of a user")?;
    let user = match asker {
        Asker::Admin => asked,
        Asker::Person(identity) if asked.as_ref().is_none_or(|asked| asked == identity.user_id()) => Some(identity.user_id().clone()),
        Asker::Person(_) => return Err(ApiError::admin_required().field("user")),
    };
    let skip = body::parameter(query, "skip", "must be a number")?.unwrap_or(0);
    Ok(UsageFilter { user, first, last, by: keys(query)?, skip, limit: body::limit(query)? })
}

/// What is kept apart: a list of names, such as `day,model`.
fn keys(query: &[(String, String)]) -> Result<UsageKeys, ApiError> {
    let by: Option<String> = body::parameter(query, "by", "must be a list")?;
    let Some(by) = by else { return Ok(UsageKeys { day: true, user: false, provider: true, model: true }) };
    let mut keys = UsageKeys::default();
    for name in by.split(',').filter(|name| !name.is_empty()) {
        match name {
            "day" => keys.day = true,
            "user" => keys.user = true,
            "provider" => keys.provider = true,
            "model" => keys.model = true,
            _ => return Err(ApiError::invalid_field("by", "must be a list of day, user, provider, model")),
        }
    }
    Ok(keys)
}
