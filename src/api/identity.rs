//! Who asks: from the `Authorization` header, the session cookie, or, for the stream alone, the query.
//!
//! Refuses to take an identity from a body.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};

use super::{State, body, error::ApiError};
use crate::{
    channel::Channel,
    event::Person,
    id::UserId,
    token::{Claims, InvalidToken},
};

/// The session cookie.
pub const COOKIE: &str = "persona_session";

/// Whoever asks, verified.
#[derive(Debug, Clone)]
pub struct Identity(pub Claims);

impl Identity {
    /// Their id.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.0.user_id
    }

    /// How rooms show them.
    #[must_use]
    pub fn person(&self) -> Person {
        Person { user_id: self.0.user_id.clone(), user_name: self.0.user_name.clone() }
    }

    /// The channel called `text`, where this person may use it.
    ///
    /// # Errors
    /// Where it is no channel, or not theirs.
    pub fn channel(&self, text: &str) -> Result<Channel, ApiError> {
        let channel: Channel = text.parse().map_err(|error: crate::channel::InvalidChannel| ApiError::invalid_field("channel", error.to_string()))?;
        if self.0.may_use(&channel) { Ok(channel) } else { Err(ApiError::channel_forbidden()) }
    }

    /// The room called `text`, where this person may use it.
    ///
    /// # Errors
    /// Where it is no room, or not theirs.
    pub fn room(&self, text: &str) -> Result<Channel, ApiError> {
        let channel = self.channel(text)?;
        if channel.is_room() { Ok(channel) } else { Err(ApiError::invalid_field("channel", "must be a room, `channel:<id>`")) }
    }
}

impl FromRequest for Identity {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(of(request))
    }
}

/// Who asks.
///
/// # Errors
/// Where nobody can be told from the request.
pub fn of(request: &HttpRequest) -> Result<Identity, ApiError> {
    let Some(state) = request.app_data::<web::Data<State>>() else { return Err(ApiError::internal()) };
    identify(state, request.headers(), None)
}

/// Who asks for a stream: EventSource can't send headers, so the query may say it.
///
/// # Errors
/// Where nobody can be told from the request.
pub fn of_stream(state: &State, headers: &HeaderMap, query: &[(String, String)]) -> Result<Identity, ApiError> {
    identify(state, headers, body::parameter(query, "access_token", "must be a token")?)
}

fn identify(state: &State, headers: &HeaderMap, from_query: Option<String>) -> Result<Identity, ApiError> {
    // What somebody says on purpose goes before a cookie, which a browser sends by itself.
    let token = bearer(headers)?.or(from_query).or_else(|| cookie(headers));
    let Some(token) = token else {
        return Err(ApiError::unauthenticated("say who you are: a token, or the cookie that POST /api/session gives"));
    };
    state.signer.verify(&token).map(Identity).map_err(|error| match error {
        InvalidToken::Forged => ApiError::unauthenticated("the token is not one of this server"),
        InvalidToken::Expired => ApiError::unauthenticated("the token has expired; get a new session"),
    })
}

/// What the session cookie says. Whatever else the cookies of this host are, it is found among them.
pub fn cookie(headers: &HeaderMap) -> Option<String> {
    headers.get_all(header::COOKIE).find_map(|line| {
        let line = String::from_utf8_lossy(line.as_bytes());
        let value = line.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
        value.map(str::to_owned)
    })
}

/// What the `Authorization` header says.
///
/// # Errors
/// Where it is of another scheme.
pub fn bearer(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim().to_owned())),
        _ => Err(ApiError::unauthenticated("the Authorization header must be `Bearer <token>`")),
    }
}
