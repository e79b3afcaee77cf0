//! `GET /api/chat/messages`: what was said in a room, page by page, each with the cursor that continues it.

use std::collections::{HashMap, HashSet};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{State, body, error::ApiError, identity::Identity};
use crate::{
    channel::Channel,
    event::FinishReason,
    id::{JobId, MessageId, PersonaId, StreamId, UserId},
    log::{Position, Running, Snapshot},
    persona::Speaker,
    realtime::cursor::{Cursor, Key},
    store::{Author, Message, Page},
    timestamp::Timestamp,
};

/// How often a page is read until nobody speaks meanwhile.
const ATTEMPTS: usize = 8;

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
    #[serde(flatten)]
    persona: Option<Shown>,
    timestamp: Timestamp,
}

/// A persona, beside what it says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    persona_id: PersonaId,
    persona_name: String,
}

impl From<Speaker> for Shown {
    fn from(speaker: Speaker) -> Self {
        Self { persona_id: speaker.id, persona_name: speaker.name }
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageId>,
    #[serde(flatten)]
    persona: Option<Shown>,
}

/// A page of a room's history, with the cursor that continues it.
///
/// # Errors
/// Where a parameter is wrong, the room is not this person's, or the store can't be read.
pub async fn show(state: Data<State>, identity: Identity, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(request.query_string())?;
    let asked: Option<String> = body::parameter(&query, "channel", "must be a room")?;
    let channel = identity.room(&asked.ok_or_else(|| ApiError::bad_request("missing_field", "missing field `channel`").field("channel"))?)?;
    let before = body::parameter(&query, "before", "must be the id of a message")?;
    let limit = body::limit(&query)?;
    let Fitting { page, next_before, snapshot, place } = read(&state, &channel, before, limit).await?;
    let own = Key::of(&channel);
    let history = History {
        next_before,
        messages: page.messages.into_iter().map(told).collect(),
        streaming: if place == snapshot.head { snapshot.streaming.into_iter().map(streaming).collect() } else { Vec::new() },
        cursor: Cursor::new([(own, place)]).to_string(),
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(history))
}

/// A page, and what of the log fits it.
struct Fitting {
    page: Page,
    /// What is older than all that the page had to begin with, also what it leaves to the stream.
    next_before: Option<MessageId>,
    snapshot: Snapshot,
    place: Position,
}

/// Reads a page of the store, and the log.
///
/// Somebody may speak between the two. Both are read again then, as texts that are streaming are known at the head alone.
async fn read(state: &State, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Fitting, ApiError> {
    let mut attempts = 0;
    loop {
        let mut page = state.store.messages(channel, before, limit).await?;
        let snapshot = state.log.snapshot(channel).await.map_err(|error| ApiError::log_unavailable(&error))?;
        let next_before = page.messages.first().filter(|_| page.more).map(|message| message.id);
        let place = if before.is_some() { leave_untold(&mut page, &snapshot) } else { align(&mut page, &snapshot) };
        attempts += 1;
        if place == snapshot.head || attempts == ATTEMPTS {
            return Ok(Fitting { page, next_before, snapshot, place });
        }
    }
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

/// Leaves to the stream what an older page has of messages whose events are still on their way. The store may not have noted
/// yet that the log has one; what the log has stays in the page.
fn leave_untold(page: &mut Page, snapshot: &Snapshot) -> Position {
    let mut untold = std::mem::take(&mut page.unpublished);
    if !untold.is_empty() {
        let told: HashSet<MessageId> = snapshot.messages.iter().map(|(_, id)| *id).collect();
        untold.retain(|id| !told.contains(id));
        page.messages.retain(|message| !untold.contains(&message.id));
    }
    snapshot.head
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
        persona: None,
        timestamp,
    };
    match author {
        Author::Person { user_id, user_name, client_id } => Told { user_id: Some(user_id), user_name: Some(user_name), client_id, ..told },
        Author::Assistant { provider, stream_id, reply_to, finish_reason, persona } => Told {
            role: "assistant",
            provider: Some(provider),
            stream_id: Some(stream_id),
            reply_to,
            finish_reason: Some(finish_reason),
            persona: persona.map(Into::into),
            ..told
        },
    }
}

fn streaming(running: Running) -> Streaming {
    let Running { stream_id, job_id, text, seq, provider, persona, reply_to } = running;
    Streaming { stream_id, job_id, text, seq, provider, reply_to, persona: persona.map(Into::into) }
}
