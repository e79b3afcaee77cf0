//! `GET /media/{name}`: pictures, by their unguessable name. What a name stands for never changes, so caches may keep it.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Path},
};

use super::{State, error::ApiError};

/// A picture.
///
/// # Errors
/// Where there is none of that name, or the disk refuses.
pub async fn show(state: Data<State>, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let found = state.media.get(&name).await.map_err(|error| {
        log::error!("picture {name} can't be read: {error}");
        ApiError::internal()
    })?;
    let (kind, bytes) = found.ok_or_else(ApiError::not_found)?;
    Ok(HttpResponse::Ok()
        .content_type(kind.content_type())
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .insert_header(("Cross-Origin-Resource-Policy", "cross-origin"))
        .body(bytes))
}
