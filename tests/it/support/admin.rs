//! The administrator of a server.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{answer::Answer, app::App};

/// The token of servers that have an administrator: give it as `PERSONA_ADMIN_TOKEN`.
pub const TOKEN: &str = "an-admin-token-for-tests";

/// A request of the administrator.
pub fn admin(app: &App, method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, format!("{}{path}", app.url)).bearer_auth(TOKEN)
}

/// Keeps a persona, and gives it as it is shown.
pub async fn put_persona(app: &App, id: &str, persona: &Value) -> Value {
    let answer = Answer::to(admin(app, Method::PUT, &format!("/api/personas/{id}")).json(persona)).await;
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    answer.json()
}
