//! `/api/session`: become somebody, ask who one is, be nobody again.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration as MaxAge},
    http::header,
    web::Data,
};
use serde::{Deserialize, Serialize};

use super::{
    State,
    body::{self, Json},
    error::ApiError,
    identity::{self, COOKIE, Identity},
};
use crate::{id::UserId, realtime::peer::Peer, timestamp::Timestamp, token::Claims};

/// The longest name.
const MAX_NAME: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSession {
    user_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    user_id: &'a UserId,
    user_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    expires_at: Timestamp,
}

/// Makes a guest; whoever has an identity keeps it, for another while and, where one is given, under a new name.
///
/// # Errors
/// Where the name breaks a rule, or an identity was sent that is no good.
pub async fn create(state: Data<State>, request: HttpRequest, body: Json<NewSession, true>) -> Result<HttpResponse, ApiError> {
    let name = body.value.user_name.as_deref().map(|name| body::line("userName", name, MAX_NAME)).transpose()?;
    let known = if has_credentials(&request) { Some(identity::of_stream(&state, request.headers(), &[])?) } else { None };
    let expires = Timestamp::now().after(state.session_lasts);
    let (claims, mut response) = match known {
        Some(Identity(mut claims)) => {
            claims.user_name = name.unwrap_or(claims.user_name);
            // Never beyond what whoever issued the identity has allowed.
            (claims, HttpResponse::Ok())
        }
        None => (Claims::new(UserId::guest(), name.unwrap_or_else(guest_name), expires), HttpResponse::Created()),
    };
    let token = state.signer.sign(&claims);
    let left = Duration::from_millis(u64::try_from(claims.expires().millis() - Timestamp::now().millis()).unwrap_or(0));
    let session = Session { user_id: &claims.user_id, user_name: &claims.user_name, token: Some(&token), expires_at: claims.expires() };
    Ok(response.cookie(cookie(&request, &token, left)).insert_header((header::CACHE_CONTROL, "no-store")).json(session))
}

/// Who asks.
pub async fn show(identity: Identity) -> HttpResponse {
    let claims = &identity.0;
    let session = Session { user_id: &claims.user_id, user_name: &claims.user_name, token: None, expires_at: claims.expires() };
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(session)
}

/// Takes the cookie away.
pub async fn delete(request: HttpRequest) -> HttpResponse {
    let mut gone = cookie(&request, "", Duration::ZERO);
    gone.make_removal();
    HttpResponse::NoContent().cookie(gone).finish()
}

fn has_credentials(request: &HttpRequest) -> bool {
    // A cookie that has expired is no reason to refuse a new guest; a token that somebody sends on purpose is.
    request.headers().contains_key(header::AUTHORIZATION)
        || identity::cookie(request.headers())
            .is_some_and(|token| request.app_data::<Data<State>>().is_some_and(|state| state.signer.verify(&token).is_ok()))
}

fn guest_name() -> String {
    format!("Guest {}", rand::random_range(1000..10_000))
}

fn cookie(request: &HttpRequest, token: &str, lasts: Duration) -> Cookie<'static> {
    let secure = request.conn_data::<std::rc::Rc<Peer>>().is_some_and(|peer| peer.is_secure());
    let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
    Cookie::build(COOKIE, token.to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(MaxAge::seconds(seconds))
        .finish()
}
