//! `GET /api/models`: what may be asked for by name.

use actix_web::{HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{State, body, error::ApiError, identity::Identity};
use crate::model::{self, Target};

/// The longest name of a model.
const MAX_MODEL: usize = 128;
/// The most tokens that may be asked for.
pub const MAX_TOKENS: u32 = 32_000;

#[derive(Serialize)]
struct ModelList<'a> {
    text: &'a [Target],
    image: &'a [Target],
}

/// The models that clients may ask for, those that serve first standing first.
pub async fn list(state: Data<State>, _: Identity) -> HttpResponse {
    let list = ModelList { text: &state.models.text, image: &state.models.image };
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(list)
}

/// The model that a client asks for, if it does.
///
/// # Errors
/// Where it is none of those that are allowed; names them.
pub fn asked(allowed: &[Target], name: Option<&str>) -> Result<Option<Target>, ApiError> {
    let Some(name) = name else { return Ok(None) };
    let name = body::line("model", name, MAX_MODEL)?;
    model::find(allowed, &name).cloned().map(Some).ok_or_else(|| ApiError::model_not_allowed(allowed))
}

/// The number of tokens that a client asks for, if it does.
///
/// # Errors
/// Where it is none that may be asked for.
pub fn max_tokens(most: Option<u32>) -> Result<Option<u32>, ApiError> {
    body::within("maxTokens", most, 1..=MAX_TOKENS)
}
