//! `GET /api/events`: the stream of a person's channels.
//!
//! Everything that can be refused is refused before the stream starts, since EventSource can't read an error afterwards. A
//! stream that a fresh connection of HTTP/1.1 begins with is [`admit`]ted the same way, and then has its socket to itself.

use std::{
    fmt::Write as _,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    body::MessageBody,
    http::{
        ConnectionType, Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Data,
};
use bytes::Bytes;

use super::{
    State, body,
    error::{self, ApiError},
    identity::{self, Identity},
};
use crate::{
    channel::Channel,
    event::{ClosingReason, Control, ResetReason},
    realtime::{
        connection::Opening,
        cursor::{Cursor, Key},
        frame,
        host::{Host, Open},
        limits::{Permit, Reached},
        outlet::{self, Outlet},
        peer::Peer,
    },
    timestamp::Timestamp,
};

/// Where a stream is asked for.
pub const PATH: &str = "/api/events";
/// The most rooms of one stream.
const MAX_ROOMS: usize = 64;
/// What every stream's response has.
const HEADERS: [(&str, &str); 3] =
    [("content-type", "text/event-stream"), ("cache-control", "private, no-cache, no-store, no-transform"), ("x-accel-buffering", "no")];

/// Opens a stream in the body of a response.
///
/// # Errors
/// Where the channels are wrong or not this person's, or there are too many streams.
pub async fn stream(state: Data<State>, host: Data<Addr<Host>>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let wanted = Wanted::read(&state, request.headers(), request.query_string())?;
    if state.is_draining() {
        return Ok(farewell(&request, wanted.channels, wanted.cursor.is_some()));
    }
    let Some(peer) = request.conn_data::<Rc<Peer>>().cloned() else { return Err(ApiError::internal()) };
    let permit = state.limits.admit(wanted.identity.user_id(), peer.ip()).map_err(refusal)?;
    let (outlet, mut body) = outlet::body::outlet(peer.clone());
    let opening = wanted.opening(&state, permit, outlet, Bytes::new());
    let seat = host.send(Open(opening)).await.map_err(|error| {
        log::error!("the host of this thread is gone: {error}");
        ApiError::internal()
    })?;
    body.attach(seat);
    Ok(response(&request, body))
}

/// A stream that may begin, on a connection that can be its own.
pub struct Admitted {
    wanted: Wanted,
    permit: Permit,
    head: Bytes,
}

/// Takes a place for the stream that a connection's first request asks for, where it may be had. Where not, the HTTP layer
/// will find the same, and say why.
#[must_use]
pub fn admit(state: &State, headers: &HeaderMap, query: &str, address: Option<IpAddr>) -> Option<Admitted> {
    let wanted = Wanted::read(state, headers, query).ok().filter(|_| !state.is_draining())?;
    let permit = state.limits.admit(wanted.identity.user_id(), address).ok()?;
    Some(Admitted { wanted, permit, head: head(headers) })
}

impl Admitted {
    /// What the connection begins with; the head of the response comes first.
    #[must_use]
    pub fn opening(self, state: &State, outlet: Outlet) -> Opening {
        self.wanted.opening(state, self.permit, outlet, self.head)
    }
}

/// The head of a stream's response, on a connection that ends with it (RFC 9112, section 9.6).
fn head(request: &HeaderMap) -> Bytes {
    let date = header::HttpDate::from(SystemTime::now());
    let mut head = format!("HTTP/1.1 200 OK\r\ndate: {date}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n");
    for (name, value) in HEADERS {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "{}: {}\r\nx-content-type-options: nosniff\r\n\r\n", error::REQUEST_ID, error::request_id(request));
    head.into()
}

/// What somebody asks for, who may have it.
struct Wanted {
    identity: Identity,
    channels: Vec<Channel>,
    cursor: Option<Cursor>,
    /// What is to be told where the cursor given is no good.
    reset: Option<ResetReason>,
}

impl Wanted {
    fn read(state: &State, headers: &HeaderMap, query: &str) -> Result<Self, ApiError> {
        let query = body::query(query)?;
        let identity = identity::of_stream(state, headers, &query)?;
        let channels = channels(&identity, &query)?;
        let (cursor, reset) = cursor(state, headers, &query);
        Ok(Self { identity, channels, cursor, reset })
    }

    fn opening(self, state: &State, permit: Permit, outlet: Outlet, head: Bytes) -> Opening {
        let Self { identity, channels, cursor, reset } = self;
        let mut person = identity.person();
        person.user_id = permit.user().clone();
        let place = |channel: &Channel| cursor.as_ref().and_then(|cursor| cursor.place(Key::of(channel)));
        Opening {
            person: Arc::new(person),
            resumed: cursor.is_some(),
            ends: end(state, identity.0.expires()),
            channels: channels.into_iter().map(|channel| (place(&channel), channel)).map(|(place, channel)| (channel, place)).collect(),
            reset,
            outlet,
            head,
            permit,
        }
    }
}

/// A stream with this body.
fn response(request: &HttpRequest, body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = HttpResponse::Ok().body(body);
    // The HTTP layer keeps the head for as long as the stream lasts, and would give it room for 14 headers, at 200 bytes each.
    let headers = response.headers_mut();
    *headers = HeaderMap::with_capacity(HEADERS.len() + error::SIGNS);
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
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
fn channels(identity: &Identity, query: &[(String, String)]) -> Result<Vec<Channel>, ApiError> {
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
fn cursor(state: &State, headers: &HeaderMap, query: &[(String, String)]) -> (Option<Cursor>, Option<ResetReason>) {
    let given = match headers.get("Last-Event-ID") {
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
