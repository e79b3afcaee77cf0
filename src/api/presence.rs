//! `GET /api/presence`: who is in a room.

use std::collections::HashSet;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{State, body, error::ApiError, identity::Identity};
use crate::{
    channel::Channel,
    event::{Person, Presence},
    log::elsewhere::Crowd,
    realtime::room::WhoIsThere,
};

/// How many are named.
const NAMED: usize = 100;

#[derive(Serialize)]
struct Attendance {
    channel: Channel,
    count: usize,
    users: Vec<Person>,
}

/// How many there are, each once, and the first of them.
fn everybody(crowds: Vec<Crowd>) -> (usize, Vec<Person>) {
    let people: HashSet<Person> = crowds.into_iter().flat_map(|crowd| crowd.people).collect();
    (people.len(), people.into_iter().take(NAMED).collect())
}

/// How many are there, and the first 100.
///
/// # Errors
/// Where the room is not this person's.
pub async fn show(state: Data<State>, identity: Identity, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(request.query_string())?;
    let asked: Option<String> = body::parameter(&query, "channel", "must be a room")?;
    let channel = identity.room(&asked.ok_or_else(|| ApiError::bad_request("missing_field", "missing field `channel`").field("channel"))?)?;
    let there = state.registry.send(WhoIsThere(channel.clone())).await.map_err(|error| {
        log::error!("the room registry is gone: {error}");
        ApiError::internal()
    })?;
    let (count, users) = match there {
        Some(Presence::Snapshot { count, users }) => (count, users),
        // Nobody here listens to it; others may.
        _ => everybody(state.log.elsewhere(&channel).await.map_err(|error| ApiError::log_unavailable(&error))?),
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Attendance { channel, count, users }))
}
