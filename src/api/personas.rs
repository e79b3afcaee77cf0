//! `/api/personas`: who answers in rooms. Everybody may see who there is; the administrator alone sees and says how they are.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use serde::{Deserialize, Serialize};

use super::{
    State,
    admin::{Admin, Asker},
    body::{self, Json},
    error::ApiError,
    models,
};
use crate::{
    channel::{Channel, InvalidChannel},
    id::PersonaId,
    model::{InvalidTarget, Target},
    persona::{Answers, Parameters, Persona, UnknownAnswers},
    store::{Kept, MAX_PERSONAS_OF_ROOM, PersonaFilter},
    timestamp::Timestamp,
};

/// The longest name, in characters.
const MAX_NAME: usize = 64;
/// The longest system prompt, in characters.
const MAX_PROMPT: usize = 16_000;
/// The most targets of a route.
const MAX_ROUTE: usize = 8;
/// How many tokens a persona may be shown of its room.
const CONTEXT_TOKENS: std::ops::RangeInclusive<u32> = 256..=1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPersona {
    channel: String,
    name: String,
    #[serde(default)]
    prompt: String,
    answers: Option<String>,
    #[serde(default)]
    route: Vec<String>,
    max_tokens: Option<u32>,
    context_tokens: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PersonaList {
    personas: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<PersonaId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: PersonaId,
    channel: Channel,
    name: String,
    answers: Answers,
    #[serde(flatten)]
    inside: Option<Inside>,
}

/// What the administrator alone is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inside {
    prompt: String,
    route: Vec<Target>,
    #[serde(flatten)]
    parameters: Parameters,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Shown {
    fn to(asker: &Asker, persona: Persona) -> Self {
        let Persona { id, channel, name, prompt, answers, route, parameters, created_at, updated_at } = persona;
        let inside = matches!(asker, Asker::Admin).then_some(Inside { prompt, route, parameters, created_at, updated_at });
        Self { id, channel, name, answers, inside }
    }
}

/// Whether `asker` may know of a persona in `channel`.
fn may_see(asker: &Asker, channel: &Channel) -> bool {
    match asker {
        Asker::Admin => true,
        Asker::Person(identity) => identity.0.may_use(channel),
    }
}

/// The personas there are, or those of one room.
///
/// # Errors
/// Where a parameter is wrong, the room is not this person's, or the store can't be read.
pub async fn list(state: Data<State>, asker: Asker, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(request.query_string())?;
    let limit = body::limit(&query)?;
    let channel: Option<String> = body::parameter(&query, "channel", "must be a room")?;
    let channel = channel.map(|text| room(&text)).transpose()?;
    if channel.as_ref().is_some_and(|channel| !may_see(&asker, channel)) {
        return Err(ApiError::channel_forbidden());
    }
    let after = body::parameter(&query, "after", "must be the id of a persona")?;
    let mut personas = state.store.personas(PersonaFilter { channel, after, limit: limit + 1 }).await?;
    let more = personas.len() > limit;
    personas.truncate(limit);
    let next_after = personas.last().filter(|_| more).map(|persona| persona.id.clone());
    personas.retain(|persona| may_see(&asker, &persona.channel));
    let personas = personas.into_iter().map(|persona| Shown::to(&asker, persona)).collect();
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(PersonaList { personas, next_after }))
}

/// One persona.
///
/// # Errors
/// Where there is none that this person may know of, or the store can't be read.
pub async fn show(state: Data<State>, asker: Asker, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| ApiError::persona_not_found())?;
    let persona = state.store.persona(&id).await?.filter(|persona| may_see(&asker, &persona.channel)).ok_or_else(ApiError::persona_not_found)?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Shown::to(&asker, persona)))
}

/// Makes a persona, or puts it in another's place.
///
/// # Errors
/// Where a field breaks a rule, its route names who does not serve here, the room is full, or the store can't take it.
pub async fn put(state: Data<State>, _: Admin, id: Path<String>, body: Json<NewPersona>) -> Result<HttpResponse, ApiError> {
    let persona = persona(&id, &body.value)?;
    // Told here, and not by a reply that nobody can give.
    persona.route.iter().try_for_each(|target| state.known_models.check(target)).map_err(|error| ApiError::unknown_model(&error))?;
    let id = persona.id.clone();
    let kept = state.store.put_persona(persona).await?;
    state.casts.forget();
    let mut builder = match kept {
        Kept::Created => HttpResponse::Created(),
        Kept::Replaced => HttpResponse::Ok(),
        Kept::RoomIsFull => return Err(ApiError::too_many_personas(MAX_PERSONAS_OF_ROOM)),
    };
    let persona = state.store.persona(&id).await?.ok_or_else(ApiError::persona_not_found)?;
    Ok(builder.insert_header((header::LOCATION, format!("/api/personas/{id}"))).json(Shown::to(&Asker::Admin, persona)))
}

/// Forgets a persona; what it has said stays.
///
/// # Errors
/// Where there is none, or the store can't be written.
pub async fn delete(state: Data<State>, _: Admin, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| ApiError::persona_not_found())?;
    let was_there = state.store.delete_persona(&id).await?;
    state.casts.forget();
    if was_there { Ok(HttpResponse::NoContent().finish()) } else { Err(ApiError::persona_not_found()) }
}

fn persona(id: &str, new: &NewPersona) -> Result<Persona, ApiError> {
    let now = Timestamp::now();
    let prompt = if new.prompt.trim().is_empty() { String::new() } else { body::text("prompt", &new.prompt, MAX_PROMPT)? };
    let answers = new.answers.as_deref().map_or(Ok(Answers::Always), str::parse);
    Ok(Persona {
        id: id.parse().map_err(|_| ApiError::invalid_field("id", "an id is 1 to 64 of A-Z a-z 0-9 _ -"))?,
        channel: room(&new.channel)?,
        name: body::line("name", &new.name, MAX_NAME)?,
        prompt,
        answers: answers.map_err(|error: UnknownAnswers| ApiError::invalid_field("answers", error.to_string()))?,
        route: route(&new.route)?,
        parameters: Parameters {
            max_tokens: models::max_tokens(new.max_tokens)?,
            context_tokens: body::within("contextTokens", new.context_tokens, CONTEXT_TOKENS)?,
        },
        created_at: now,
        updated_at: now,
    })
}

fn room(text: &str) -> Result<Channel, ApiError> {
    let channel: Channel = text.parse().map_err(|error: InvalidChannel| ApiError::invalid_field("channel", error.to_string()))?;
    if channel.is_room() { Ok(channel) } else { Err(ApiError::invalid_field("channel", "must be a room, `channel:<id>`")) }
}

fn route(targets: &[String]) -> Result<Vec<Target>, ApiError> {
    if targets.len() > MAX_ROUTE {
        return Err(ApiError::invalid_field("route", format!("may have {MAX_ROUTE} targets")));
    }
    let target =
        |text: &String| body::line("route", text, 200)?.parse().map_err(|error: InvalidTarget| ApiError::invalid_field("route", error.to_string()));
    targets.iter().map(target).collect()
}
