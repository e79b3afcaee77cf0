//! Who administers: whoever sends the operator's token, `PERSONA_ADMIN_TOKEN`, as a bearer token.
//!
//! Refuses to take it from a cookie or the query: it is sent on purpose, or not at all.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};

use super::{
    State,
    error::ApiError,
    identity::{self, Identity},
};

/// The administrator asks.
#[derive(Debug, Clone, Copy)]
pub struct Admin;

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admin(request))
    }
}

fn admin(request: &HttpRequest) -> Result<Admin, ApiError> {
    let state = request.app_data::<Data<State>>().ok_or_else(ApiError::internal)?;
    let Some(token) = &state.admin else { return Err(ApiError::admin_disabled()) };
    if identity::bearer(request.headers())?.is_some_and(|given| token.is(&given)) {
        return Ok(Admin);
    }
    match identity::of(request) {
        Ok(_) => Err(ApiError::admin_required()),
        Err(_) => Err(ApiError::unauthenticated("this takes the administrator's token")),
    }
}

/// Whoever asks, the administrator or somebody.
#[derive(Debug, Clone)]
pub enum Asker {
    Admin,
    Person(Identity),
}

impl FromRequest for Asker {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admin(request).map(|Admin| Self::Admin).or_else(|_| identity::of(request).map(Self::Person)))
    }
}
