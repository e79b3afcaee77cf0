//! Messages: writing one, reading a page of a channel.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, JoinOnDsl, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    SqliteConnection, dsl::min, result::Error,
};

use super::{
    SqliteStore, id_bytes, millis, now,
    schema::{message, outbox},
    unreadable,
};
use crate::{
    channel::Channel,
    event::FinishReason,
    id::{MessageId, StreamId},
    persona::Speaker,
    store::{Author, HistoryStore, Message, Page, StoreError},
    timestamp::Timestamp,
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = message, check_for_backend(diesel::sqlite::Sqlite), treat_none_as_default_value = false)]
struct Row {
    channel: String,
    id: Vec<u8>,
    user_id: Option<String>,
    user_name: Option<String>,
    content: String,
    client_id: Option<String>,
    provider: Option<String>,
    stream_id: Option<Vec<u8>>,
    reply_to: Option<Vec<u8>>,
    finish_reason: Option<String>,
    created_at: i64,
    persona_id: Option<String>,
    persona_name: Option<String>,
}

pub(super) fn insert(connection: &mut SqliteConnection, new: &Message) -> Result<(), Error> {
    let mut row = Row {
        channel: new.channel.to_string(),
        id: new.id.as_bytes().to_vec(),
        user_id: None,
        user_name: None,
        content: new.content.clone(),
        client_id: None,
        provider: None,
        stream_id: None,
        reply_to: None,
        finish_reason: None,
        created_at: new.timestamp.millis(),
        persona_id: None,
        persona_name: None,
    };
    match &new.author {
        Author::Person { user_id, user_name, client_id } => {
            row.user_id = Some(user_id.to_string());
            row.user_name = Some(user_name.clone());
            row.client_id.clone_from(client_id);
        }
        Author::Assistant { provider, stream_id, reply_to, finish_reason, persona } => {
            row.provider = Some(provider.clone());
            row.stream_id = Some(stream_id.as_bytes().to_vec());
            row.reply_to = reply_to.map(|id| id.as_bytes().to_vec());
            row.finish_reason = serde_json::to_value(finish_reason).ok().and_then(|name| name.as_str().map(str::to_owned));
            row.persona_id = persona.as_ref().map(|persona| persona.id.to_string());
            row.persona_name = persona.as_ref().map(|persona| persona.name.clone());
        }
    }
    diesel::insert_into(message::table).values(row).execute(connection).map(drop)
}

pub(super) fn page(connection: &mut SqliteConnection, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Page, Error> {
    let mut query = message::table.filter(message::channel.eq(channel.as_str())).order(message::id.desc()).into_boxed();
    if let Some(before) = before {
        query = query.filter(message::id.lt(before.as_bytes().to_vec()));
    }
    let limited = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
    let mut rows: Vec<Row> = query.limit(limited).select(Row::as_select()).load(connection)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let messages = rows.into_iter().rev().map(Row::read).collect::<Result<Vec<_>, _>>()?;
    let unpublished = unpublished(connection, channel, &messages)?;
    Ok(Page { messages, unpublished, more })
}

/// Those of `messages` whose event still stands in the outbox. The outbox is small, so it is asked first.
fn unpublished(connection: &mut SqliteConnection, channel: &Channel, messages: &[Message]) -> Result<HashSet<MessageId>, Error> {
    let Some(oldest) = messages.first() else { return Ok(HashSet::new()) };
    let waiting: Vec<Vec<u8>> = outbox::table
        .inner_join(message::table.on(message::channel.eq(channel.as_str()).and(message::id.eq(outbox::id))))
        .filter(outbox::id.ge(oldest.id.as_bytes().to_vec()))
        .select(outbox::id)
        .load(connection)?;
    waiting.iter().map(|id| Ok(MessageId::from_bytes(id_bytes(id)?))).collect()
}

impl Row {
    fn read(self) -> Result<Message, Error> {
        let author = match (self.user_id, self.provider, self.stream_id) {
            (Some(user_id), ..) => Author::Person {
                user_id: user_id.parse().map_err(|_| unreadable("user id"))?,
                user_name: self.user_name.unwrap_or_default(),
                client_id: self.client_id,
            },
            (None, Some(provider), Some(stream_id)) => Author::Assistant {
                provider,
                stream_id: StreamId::from_bytes(id_bytes(&stream_id)?),
                reply_to: self.reply_to.map(|id| id_bytes(&id).map(MessageId::from_bytes)).transpose()?,
                finish_reason: self.finish_reason.and_then(|name| serde_json::from_value(name.into()).ok()).unwrap_or(FinishReason::Stop),
                persona: match (self.persona_id, self.persona_name) {
                    (Some(id), Some(name)) => Some(Speaker { id: id.parse().map_err(|_| unreadable("id of a persona"))?, name }),
                    _ => None,
                },
            },
            _ => return Err(unreadable("author of a message")),
        };
        Ok(Message {
            id: MessageId::from_bytes(id_bytes(&self.id)?),
            channel: self.channel.parse().map_err(|_| unreadable("channel"))?,
            content: self.content,
            author,
            timestamp: Timestamp::from_millis(self.created_at),
        })
    }
}

fn next_channel(connection: &mut SqliteConnection, after: Option<&Channel>) -> Result<Option<Channel>, Error> {
    let after = after.map(Channel::as_str).unwrap_or_default();
    let next: Option<String> = message::table.filter(message::channel.gt(after)).select(min(message::channel)).get_result(connection)?;
    next.map(|channel| channel.parse().map_err(|_| unreadable("channel"))).transpose()
}

fn prune(connection: &mut SqliteConnection, channel: &Channel, age: Duration, limit: usize) -> Result<usize, Error> {
    let mark = MessageId::first_at(now() - millis(age));
    let old: Vec<Vec<u8>> = message::table
        .filter(message::channel.eq(channel.as_str()).and(message::id.lt(mark.as_bytes().as_slice())))
        .order(message::id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(message::id)
        .load(connection)?;
    // They are the first of their channel, so what is not after the last of them is all of them.
    let Some(last) = old.last() else { return Ok(0) };
    diesel::delete(message::table.filter(message::channel.eq(channel.as_str()).and(message::id.le(last)))).execute(connection)
}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn messages(&self, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Page, StoreError> {
        let channel = channel.clone();
        self.readers.call(move |connection| page(connection, &channel, before, limit)).await
    }

    async fn next_channel(&self, after: Option<&Channel>) -> Result<Option<Channel>, StoreError> {
        let after = after.cloned();
        self.readers.call(move |connection| next_channel(connection, after.as_ref())).await
    }

    async fn prune_messages(&self, channel: &Channel, age: Duration, limit: usize) -> Result<usize, StoreError> {
        let channel = channel.clone();
        self.writer.call(move |connection| prune(connection, &channel, age, limit)).await
    }
}
