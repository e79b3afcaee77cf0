//! `/api/chat`: saying something in a room, and who answers it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};

use super::{
    State, allowance,
    body::{self, Json},
    error::ApiError,
    idempotency,
    identity::Identity,
    models,
};
use crate::{
    channel::Channel,
    event::{ChatMessage, Event, Fact},
    id::{JobId, MessageId, OutboxId, StreamId, UserId},
    job::{Answer, NewJob, Work},
    model::Target,
    persona::{self, Speaker},
    realtime::room::SetTyping,
    store::{Author, Message, Outgoing, Request},
    timestamp::Timestamp,
    usage::{Day, Need, Reached},
    wake::Wakeup,
};

/// The longest message, in characters.
const MAX_CONTENT: usize = 8_000;
/// The longest mark of a client.
const MAX_CLIENT_ID: usize = 128;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewMessage {
    channel: String,
    content: String,
    #[serde(default = "yes")]
    reply: bool,
    client_id: Option<String>,
    model: Option<String>,
    max_tokens: Option<u32>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTyping {
    channel: String,
    is_typing: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    message: PostedMessage<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
    /// All of them, where several answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    job_ids: Vec<JobId>,
    /// Why nobody answers, where somebody would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_refused: Option<ReplyRefused>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplyRefused {
    code: &'static str,
    detail: String,
    /// When replies are given again.
    until: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostedMessage<'a> {
    id: MessageId,
    channel: &'a Channel,
    content: &'a str,
    user_id: &'a UserId,
    user_name: &'a str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
}

/// Takes a message: durable and told to the room when this answers; the AI's reply follows by the stream.
///
/// # Errors
/// Where a field breaks a rule, the room is not this person's, or the store can't take it.
pub async fn post(state: Data<State>, identity: Identity, request: HttpRequest, body: Json<NewMessage>) -> Result<HttpResponse, ApiError> {
    let channel = identity.room(&body.value.channel)?;
    let content = body::text("content", &body.value.content, MAX_CONTENT)?;
    let client_id = body.value.client_id.as_deref().map(|id| body::line("clientId", id, MAX_CLIENT_ID)).transpose()?;
    let wanted =
        Wanted { model: models::asked(&state.models.text, body.value.model.as_deref())?, max_tokens: models::max_tokens(body.value.max_tokens)? };
    let person = identity.person();
    let said = ChatMessage {
        id: MessageId::new(),
        content,
        user_id: person.user_id.clone(),
        user_name: person.user_name,
        timestamp: Timestamp::now(),
        client_id,
    };
    let mut jobs = if body.value.reply { answers(&state, &channel, &said, &wanted).await? } else { Vec::new() };
    let refused = if jobs.is_empty() { None } else { allowance::reached(&state, &person.user_id, Need::Text).await? };
    if refused.is_some() {
        // What people say to each other costs nothing.
        jobs.clear();
    }
    let is_answered = !jobs.is_empty();
    let response = answer(&channel, &said, jobs.iter().map(|job| job.id).collect(), refused);
    let outgoing = Outgoing {
        id: OutboxId::from_bytes(*said.id.as_bytes()),
        event: Event { timestamp: said.timestamp, channel: channel.clone(), fact: Fact::Chat { result: said.clone() } },
    };
    let asked = Request {
        user: person.user_id.clone(),
        message: Some((of_person(channel.clone(), said), outgoing.clone())),
        jobs,
        idempotency: idempotency::of(&request, &body.bytes, &response)?,
        max_waiting: state.max_jobs_per_user,
        is_over_daily_limit: false,
    };
    let accepted = state.accept(asked).await?;
    let is_new = idempotency::is_new(&accepted)?;
    if is_new {
        state.outbox.publish_for_request(&outgoing).await;
        // Whoever has said it types no longer; a refusal can't come for this.
        state.registry.do_send(SetTyping { channel, user: person.user_id, is_typing: false });
        if is_answered {
            state.wakeups.send(Wakeup::Jobs);
        }
    }
    Ok(idempotency::respond(HttpResponse::Accepted(), accepted, response))
}

/// How an answer is asked to be; what is absent is the persona's to say.
#[derive(Clone)]
struct Wanted {
    model: Option<Target>,
    max_tokens: Option<u32>,
}

/// A job for each persona that answers; where the room has none, for nobody in particular.
async fn answers(state: &State, channel: &Channel, said: &ChatMessage, wanted: &Wanted) -> Result<Vec<NewJob>, ApiError> {
    let personas = state.casts.of(&*state.store, channel).await?;
    let speakers: Vec<Option<Speaker>> = if personas.is_empty() {
        vec![None]
    } else {
        persona::answering(&personas, &said.content).into_iter().map(|persona| Some(persona.speaker())).collect()
    };
    let job = |persona| {
        let (stream_id, message_id) = (StreamId::new(), MessageId::new());
        let Wanted { model, max_tokens } = wanted.clone();
        let answer = Answer { channel: channel.clone(), reply_to: said.id, stream_id, message_id, persona, model, max_tokens };
        NewJob::new(said.user_id.clone(), Work::AiChatResponse(Box::new(answer)))
    };
    Ok(speakers.into_iter().map(job).collect())
}

fn answer(channel: &Channel, said: &ChatMessage, jobs: Vec<JobId>, refused: Option<Reached>) -> String {
    let message = PostedMessage {
        id: said.id,
        channel,
        content: &said.content,
        user_id: &said.user_id,
        user_name: &said.user_name,
        timestamp: said.timestamp,
        client_id: said.client_id.as_deref(),
    };
    let reply_refused = refused.map(|reached| ReplyRefused { code: "daily_limit", detail: reached.to_string(), until: Day::today().end() });
    let posted = Posted { message, job_id: jobs.first().copied(), job_ids: if jobs.len() > 1 { jobs } else { Vec::new() }, reply_refused };
    serde_json::to_string(&posted).expect("an answer is plain data with text keys")
}

fn of_person(channel: Channel, said: ChatMessage) -> Message {
    let author = Author::Person { user_id: said.user_id, user_name: said.user_name, client_id: said.client_id };
    Message { id: said.id, channel, content: said.content, author, timestamp: said.timestamp }
}

/// Tells the room that this person types, or no longer does.
///
/// # Errors
/// Where it is told more than once a second, or the room is not this person's.
pub async fn typing(state: Data<State>, identity: Identity, body: Json<NewTyping>) -> Result<HttpResponse, ApiError> {
    let channel = identity.room(&body.value.channel)?;
    let told = SetTyping { channel, user: identity.user_id().clone(), is_typing: body.value.is_typing };
    match state.registry.send(told).await {
        Ok(Ok(())) => Ok(HttpResponse::NoContent().finish()),
        Ok(Err(too_soon)) => Err(ApiError::too_many("too_many_requests", too_soon.to_string(), Duration::from_secs(1))),
        Err(error) => {
            log::error!("the room registry is gone: {error}");
            Err(ApiError::internal())
        }
    }
}
