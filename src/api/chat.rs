//! `/api/chat`: saying something in a room, and reading what was said.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::{Deserialize, Serialize};

use super::{
    State,
    body::{self, Json},
    error::ApiError,
    idempotency,
    identity::Identity,
};
use crate::{
    channel::Channel,
    event::{ChatMessage, Event, Fact, FinishReason},
    id::{JobId, MessageId, OutboxId, StreamId, UserId},
    job::{NewJob, Work},
    log::{Position, Snapshot},
    realtime::{
        cursor::{Cursor, Key},
        room::SetTyping,
    },
    store::{Author, Message, Outgoing, Page, Request},
    timestamp::Timestamp,
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
    let person = identity.person();
    let said = ChatMessage {
        id: MessageId::new(),
        content,
        user_id: person.user_id.clone(),
        user_name: person.user_name,
        timestamp: Timestamp::now(),
        client_id,
    };
    let job = body.value.reply.then(|| {
        let work = Work::AiChatResponse { channel: channel.clone(), reply_to: said.id, stream_id: StreamId::new(), message_id: MessageId::new() };
        NewJob::new(person.user_id.clone(), work)
    });
    let job_id = job.as_ref().map(|job| job.id);
    let response = answer(&channel, &said, job_id);
    let outgoing = Outgoing {
        id: OutboxId::from_bytes(*said.id.as_bytes()),
        event: Event { timestamp: said.timestamp, channel: channel.clone(), fact: Fact::Chat { result: said.clone() } },
    };
    let asked = Request {
        user: person.user_id.clone(),
        message: Some((of_person(channel.clone(), said), outgoing.clone())),
        jobs: job.into_iter().collect(),
        idempotency: idempotency::of(&request, &body.bytes, &response)?,
        max_waiting: state.max_jobs_per_user,
    };
    let accepted = state.store.accept(asked).await?;
    let is_new = idempotency::is_new(&accepted)?;
    if is_new {
        state.outbox.publish(&outgoing).await;
        // Whoever has said it types no longer; a refusal can't come for this.
        state.registry.do_send(SetTyping { channel, user: person.user_id, is_typing: false });
        if job_id.is_some() {
            state.wakeups.send(Wakeup::Jobs);
        }
    }
    Ok(idempotency::respond(HttpResponse::Accepted(), accepted, response))
}

fn answer(channel: &Channel, said: &ChatMessage, job_id: Option<JobId>) -> String {
    let message = PostedMessage {
        id: said.id,
        channel,
        content: &said.content,
        user_id: &said.user_id,
        user_name: &said.user_name,
        timestamp: said.timestamp,
        client_id: said.client_id.as_deref(),
    };
    serde_json::to_string(&Posted { message, job_id }).expect("an answer is plain data with text keys")
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History {
    messages: Vec<Told>,
    streaming: Vec<Streaming>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<MessageId>,
    cursor: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: MessageId,
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_id: Option<StreamId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<FinishReason>,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Streaming {
    stream_id: StreamId,
    job_id: JobId,
    text: String,
    seq: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
}

/// A page of a room's history, with the cursor that continues it.
///
/// # Errors
/// Where a parameter is wrong, the room is not this person's, or the store can't be read.
pub async fn history(state: Data<State>, identity: Identity, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(&request)?;
    let asked: Option<String> = body::parameter(&query, "channel", "must be a room")?;
    let channel = identity.room(&asked.ok_or_else(|| ApiError::bad_request("missing_field", "missing field `channel`").field("channel"))?)?;
    let before = body::parameter(&query, "before", "must be the id of a message")?;
    let limit = body::limit(&query)?;
    let mut page = state.store.messages(&channel, before, limit).await?;
    let snapshot = state.log.snapshot(&channel).await.map_err(|error| {
        log::error!("{error}");
        ApiError::unavailable("log_unavailable", "the server's event log can't be reached at the moment", Duration::from_secs(2))
    })?;
    let place = if before.is_some() { snapshot.head } else { align(&mut page, &snapshot) };
    let own = Key::of(&channel, identity.user_id());
    let history = History {
        next_before: page.more.then(|| page.messages.first().map(|message| message.id)).flatten(),
        messages: page.messages.into_iter().map(told).collect(),
        streaming: if place == snapshot.head { snapshot.streaming.into_iter().map(streaming).collect() } else { Vec::new() },
        cursor: Cursor::new([(own, place)]).to_string(),
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(history))
}

/// Makes the page and a place in the log fit: every message is in the page, or its event comes after the place, and never
/// both. The page was read first, so the log may know more; and a message may be stored whose event is still on its way.
fn align(page: &mut Page, snapshot: &Snapshot) -> Position {
    let known: HashSet<MessageId> = page.messages.iter().map(|message| message.id).collect();
    let oldest = page.messages.first().filter(|_| page.more).map(|message| message.id);
    let missing = snapshot.messages.iter().find(|(_, id)| !known.contains(id) && oldest.is_none_or(|oldest| *id > oldest));
    let place = missing.map_or(snapshot.head.offset, |(offset, _)| offset - 1);
    let told: HashMap<MessageId, u64> = snapshot.messages.iter().map(|(offset, id)| (*id, *offset)).collect();
    let unpublished = std::mem::take(&mut page.unpublished);
    page.messages.retain(|message| match told.get(&message.id) {
        Some(offset) => *offset <= place,
        None => !unpublished.contains(&message.id),
    });
    Position { offset: place, ..snapshot.head }
}

fn told(message: Message) -> Told {
    let Message { id, content, author, timestamp, .. } = message;
    let told = Told {
        id,
        role: "user",
        content,
        user_id: None,
        user_name: None,
        client_id: None,
        provider: None,
        stream_id: None,
        reply_to: None,
        finish_reason: None,
        timestamp,
    };
    match author {
        Author::Person { user_id, user_name, client_id } => Told { user_id: Some(user_id), user_name: Some(user_name), client_id, ..told },
        Author::Assistant { provider, stream_id, reply_to, finish_reason } => {
            Told { role: "assistant", provider: Some(provider), stream_id: Some(stream_id), reply_to, finish_reason: Some(finish_reason), ..told }
        }
    }
}

fn streaming(running: crate::log::Running) -> Streaming {
    let crate::log::Running { stream_id, job_id, text, seq, provider } = running;
    Streaming { stream_id, job_id, text, seq, provider }
}
