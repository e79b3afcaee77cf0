//! `GET /api/events`: the stream of a person's channels.
//!
//! Everything that can be refused is refused before the stream starts, since EventSource can't read an error afterwards.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    body::MessageBody,
    http::{ConnectionType, Version, header},
    web::Data,
};

use super::{State, body, error::ApiError, identity};
use crate::{
    channel::Channel,
    event::{ClosingReason, Control, ResetReason},
    realtime::{
        connection::Opening,
        cursor::{Cursor, Key},
        frame,
        host::{Host, Open},
        limits::Reached,
        outlet::Outlet,
        peer::Peer,
    },
    timestamp::Timestamp,
};

/// The most rooms of one stream.
const MAX_ROOMS: usize = 64;

/// Opens a stream.
///
/// # Errors
/// Where the channels are wrong or not this person's, or there are too many streams.
pub async fn stream(state: Data<State>, host: Data<Addr<Host>>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(&request)?;
    let identity = identity::of_stream(&request, &query)?;
    let channels = channels(&identity, &query)?;
    let (cursor, resets) = cursor(&state, &request, &query);
    if state.is_draining() {
        return Ok(farewell(&request, channels, cursor.is_some()));
    }
    let Some(peer) = request.conn_data::<Rc<Peer>>().cloned() else { return Err(ApiError::internal()) };
    let permit = state.limits.admit(identity.user_id(), peer.ip()).map_err(refusal)?;

    let seat = Rc::new(Cell::new(None));
    let (outlet, stream) = Outlet::new({
        let (peer, seat) = (peer.clone(), seat.clone());
        Box::new(move || seat.take().into_iter().for_each(|seat| peer.detach(seat)))
    });
    let place = |channel: &Channel| cursor.as_ref().and_then(|cursor| cursor.place(Key::of(channel, identity.user_id())));
    let opening = Opening {
        person: identity.person(),
        channels: channels.iter().map(|channel| (channel.clone(), place(channel))).collect(),
        resets,
        resumed: cursor.is_some(),
        outlet,
        ends: end(&state, identity.0.expires()),
        permit,
    };
    let taken = host.send(Open(opening)).await.map_err(|error| {
        log::error!("the host of this thread is gone: {error}");
        ApiError::internal()
    })?;
    seat.set(Some(taken));
    peer.attach(taken);
    Ok(response(&request, stream))
}

/// A stream with this body.
fn response(request: &HttpRequest, body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "private, no-cache, no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body(body);
    if request.version() < Version::HTTP_11 {
        // Knows no chunks: the stream ends with its connection (RFC 9112, section 6.1).
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

/// A stream that ends at once, as the server stops: a browser comes back from it, to another server, as it would not from an
/// error. Over HTTP/1.1 it opens a new connection for that.
fn farewell(request: &HttpRequest, channels: Vec<Channel>, resumed: bool) -> HttpResponse {
    let timestamp = Timestamp::now();
    let ready = Control::Ready { timestamp, channels, resumed };
    let closing = Control::Closing { timestamp, reason: ClosingReason::Drain, reconnect: true };
    let frames = [frame::retry(rand::random_range(2_000..=5_000)), frame::control(&ready), frame::control(&closing)].concat();
    let mut response = response(request, frames);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// The channels asked for and the person's own, each once.
fn channels(identity: &identity::Identity, query: &[(String, String)]) -> Result<Vec<Channel>, ApiError> {
    let mut channels = vec![Channel::of_user(identity.user_id())];
    for (_, text) in query.iter().filter(|(name, _)| name == "channel") {
        let channel = identity.channel(text)?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    if channels.len() > MAX_ROOMS + 1 {
        return Err(ApiError::bad_request("too_many_channels", format!("a stream may have {MAX_ROOMS} rooms")).field("channel"));
    }
    Ok(channels)
}

/// Where the reader was, and what is to be told where that is no good.
fn cursor(state: &State, request: &HttpRequest, query: &[(String, String)]) -> (Option<Cursor>, Option<ResetReason>) {
    let given = match request.headers().get("Last-Event-ID") {
        Some(value) => Some(value.to_str().unwrap_or("?").to_owned()),
        None => query.iter().find(|(name, _)| name == "lastEventId").map(|(_, text)| text.clone()),
    };
    // An empty id is how a browser says that it has none.
    let Some(text) = given.filter(|text| !text.is_empty()) else { return (None, None) };
    match text.parse::<Cursor>() {
        Ok(cursor) if u64::from(cursor.age_minutes()) * 60 > state.log.retention().as_secs() => (None, Some(ResetReason::Trimmed)),
        Ok(cursor) => (Some(cursor), None),
        Err(_) => (None, Some(ResetReason::Cursor)),
    }
}

/// When the stream ends by itself: with the identity, or for its age, whichever is first.
fn end(state: &State, expires: Timestamp) -> (Instant, ClosingReason) {
    let now = Instant::now();
    let lifetime = state.stream_lifetime.mul_f64(rand::random_range(0.75..=1.0));
    let left = Duration::from_millis(u64::try_from(expires.millis() - Timestamp::now().millis()).unwrap_or(0));
    if left < lifetime { (now + left, ClosingReason::Expired) } else { (now + lifetime, ClosingReason::Lifetime) }
}

fn refusal(reached: Reached) -> ApiError {
    let pause = Duration::from_secs(10);
    match reached {
        Reached::User => ApiError::too_many("too_many_streams", "you have too many streams; close one", pause),
        Reached::Address => ApiError::too_many("too_many_streams", "your address has too many streams", pause),
        Reached::All => ApiError::unavailable("server_full", "this server has no room for another stream", pause),
    }
}
