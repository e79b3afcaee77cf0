//! Messages: writing many, reading a page of a channel.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use diesel::{
    Queryable,
    result::Error,
    sql_types::{Array, BigInt, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{PostgresStore, literal::statement, outbox::shard, unreadable};
use crate::{
    channel::Channel,
    event::FinishReason,
    id::{MessageId, StreamId},
    persona::Speaker,
    store::{Author, HistoryStore, Message, Page, StoreError},
    timestamp::Timestamp,
};

#[derive(Queryable)]
struct Row {
    channel: String,
    id: Uuid,
    user_id: Option<String>,
    user_name: Option<String>,
    content: String,
    client_id: Option<String>,
    provider: Option<String>,
    stream_id: Option<Uuid>,
    reply_to: Option<Uuid>,
    finish_reason: Option<String>,
    persona_id: Option<String>,
    persona_name: Option<String>,
    created_at: i64,
}

type Columns = (
    Text,
    SqlUuid,
    Nullable<Text>,
    Nullable<Text>,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<SqlUuid>,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    BigInt,
);

const INSERT: &str = "insert into message
    (channel, id, user_id, user_name, content, client_id, provider, stream_id, reply_to, finish_reason,
    persona_id, persona_name, created_at)
    select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    on conflict (channel, id) do nothing returning id";

/// Writes messages. Gives those that were not there before.
pub(super) async fn insert(mut connection: &AsyncPgConnection, new: &[&Message]) -> Result<HashSet<MessageId>, Error> {
    if new.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Row> = new.iter().map(|message| Row::of(message)).collect();
    macro_rules! column {
        ($name:ident) => {
            rows.iter().map(|row| &row.$name).collect::<Vec<_>>()
        };
    }
    let inserted: Vec<Uuid> = statement::<SqlUuid>(INSERT)
        .bind::<Array<Text>, _>(column!(channel))
        .bind::<Array<SqlUuid>, _>(column!(id))
        .bind::<Array<Nullable<Text>>, _>(column!(user_id))
        .bind::<Array<Nullable<Text>>, _>(column!(user_name))
        .bind::<Array<Text>, _>(column!(content))
        .bind::<Array<Nullable<Text>>, _>(column!(client_id))
        .bind::<Array<Nullable<Text>>, _>(column!(provider))
        .bind::<Array<Nullable<SqlUuid>>, _>(column!(stream_id))
        .bind::<Array<Nullable<SqlUuid>>, _>(column!(reply_to))
        .bind::<Array<Nullable<Text>>, _>(column!(finish_reason))
        .bind::<Array<Nullable<Text>>, _>(column!(persona_id))
        .bind::<Array<Nullable<Text>>, _>(column!(persona_name))
        .bind::<Array<BigInt>, _>(column!(created_at))
        .load(&mut connection)
        .await?;
    Ok(inserted.into_iter().map(|id| MessageId::from_bytes(id.into_bytes())).collect())
}

const KNOWN: &str = "select m.id from unnest($1, $2) as asked (channel, id) join message m on m.channel = asked.channel and m.id = asked.id";

/// Those of `asked` that are written.
pub(super) async fn known(mut connection: &AsyncPgConnection, asked: &[&Message]) -> Result<HashSet<MessageId>, Error> {
    let (channels, ids): (Vec<&str>, Vec<Uuid>) =
        asked.iter().map(|message| (message.channel.as_str(), Uuid::from_bytes(*message.id.as_bytes()))).unzip();
    let known = statement::<SqlUuid>(KNOWN).bind::<Array<Text>, _>(channels).bind::<Array<SqlUuid>, _>(ids);
    let known: Vec<Uuid> = known.load(&mut connection).await?;
    Ok(known.into_iter().map(|id| MessageId::from_bytes(id.into_bytes())).collect())
}

const NEWEST: &str = "select channel, id, user_id, user_name, content, client_id, provider, stream_id, reply_to, finish_reason,
    persona_id, persona_name, created_at
    from message where channel = $1 order by id desc limit $2";
const BEFORE: &str = "select channel, id, user_id, user_name, content, client_id, provider, stream_id, reply_to, finish_reason,
    persona_id, persona_name, created_at
    from message where channel = $1 and id < $2 order by id desc limit $3";
const WAITING: &str = "select o.id from unnest($1, $2) as asked (shard, id) join outbox o on o.shard = asked.shard and o.id = asked.id";

async fn page(mut connection: &AsyncPgConnection, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Page, Error> {
    let limited = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
    let mut rows: Vec<Row> = match before {
        None => statement::<Columns>(NEWEST).bind::<Text, _>(channel.as_str()).bind::<BigInt, _>(limited).load(&mut connection).await?,
        Some(before) => {
            let asked = statement::<Columns>(BEFORE).bind::<Text, _>(channel.as_str()).bind::<SqlUuid, _>(Uuid::from_bytes(*before.as_bytes()));
            asked.bind::<BigInt, _>(limited).load(&mut connection).await?
        }
    };
    let more = rows.len() > limit;
    rows.truncate(limit);
    // What waits is asked after what is there: whatever was published in between counts as published.
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let shards: Vec<i16> = ids.iter().map(|id| shard(id.as_bytes())).collect();
    let waiting: Vec<Uuid> = if ids.is_empty() {
        Vec::new()
    } else {
        statement::<SqlUuid>(WAITING).bind::<Array<SmallInt>, _>(shards).bind::<Array<SqlUuid>, _>(ids).load(&mut connection).await?
    };
    let messages = rows.into_iter().rev().map(Row::read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page { messages, unpublished: waiting.into_iter().map(|id| MessageId::from_bytes(id.into_bytes())).collect(), more })
}

const NEXT_CHANNEL: &str = "select channel from message where channel > $1 order by channel limit 1";
const PRUNE: &str = "delete from message where channel = $1 and id in
    (select id from message where channel = $1 and id < $2 order by id limit $3)";

impl Row {
    fn of(message: &Message) -> Self {
        let mut row = Self {
            channel: message.channel.to_string(),
            id: Uuid::from_bytes(*message.id.as_bytes()),
            user_id: None,
            user_name: None,
            content: message.content.clone(),
            client_id: None,
            provider: None,
            stream_id: None,
            reply_to: None,
            finish_reason: None,
            persona_id: None,
            persona_name: None,
            created_at: message.timestamp.millis(),
        };
        match &message.author {
            Author::Person { user_id, user_name, client_id } => {
                row.user_id = Some(user_id.to_string());
                row.user_name = Some(user_name.clone());
                row.client_id.clone_from(client_id);
            }
            Author::Assistant { provider, stream_id, reply_to, finish_reason, persona } => {
                row.provider = Some(provider.clone());
                row.stream_id = Some(Uuid::from_bytes(*stream_id.as_bytes()));
                row.reply_to = reply_to.map(|id| Uuid::from_bytes(*id.as_bytes()));
                row.persona_id = persona.as_ref().map(|persona| persona.id.to_string());
                row.persona_name = persona.as_ref().map(|persona| persona.name.clone());
                row.finish_reason = serde_json::to_value(finish_reason).ok().and_then(|name| name.as_str().map(str::to_owned));
            }
        }
        row
    }

    fn read(self) -> Result<Message, Error> {
        let author = match (self.user_id, self.provider, self.stream_id) {
            (Some(user_id), ..) => Author::Person {
                user_id: user_id.parse().map_err(|_| unreadable("user id"))?,
                user_name: self.user_name.unwrap_or_default(),
                client_id: self.client_id,
            },
            (None, Some(provider), Some(stream_id)) => Author::Assistant {
                provider,
                stream_id: StreamId::from_bytes(stream_id.into_bytes()),
                reply_to: self.reply_to.map(|id| MessageId::from_bytes(id.into_bytes())),
                finish_reason: self.finish_reason.and_then(|name| serde_json::from_value(name.into()).ok()).unwrap_or(FinishReason::Stop),
                persona: match (self.persona_id, self.persona_name) {
                    (Some(id), Some(name)) => Some(Speaker { id: id.parse().map_err(|_| unreadable("id of a persona"))?, name }),
                    _ => None,
                },
            },
            _ => return Err(unreadable("author of a message")),
        };
        Ok(Message {
            id: MessageId::from_bytes(self.id.into_bytes()),
            channel: self.channel.parse().map_err(|_| unreadable("channel"))?,
            content: self.content,
            author,
            timestamp: Timestamp::from_millis(self.created_at),
        })
    }
}

#[async_trait]
impl HistoryStore for PostgresStore {
    async fn messages(&self, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Page, StoreError> {
        let channel = channel.clone();
        self.statements(async move |connection, _| page(connection, &channel, before, limit).await).await
    }

    async fn next_channel(&self, after: Option<&Channel>) -> Result<Option<Channel>, StoreError> {
        let after = after.map(Channel::to_string).unwrap_or_default();
        self.statements(async move |mut connection, _| {
            let next: Vec<String> = statement::<Text>(NEXT_CHANNEL).bind::<Text, _>(&after).load(&mut connection).await?;
            next.into_iter().next().map(|channel| channel.parse().map_err(|_| unreadable("channel"))).transpose()
        })
        .await
    }

    async fn prune_messages(&self, channel: &Channel, age: Duration, limit: usize) -> Result<usize, StoreError> {
        let channel = channel.clone();
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 4);
        // An id tells when it was made, by the clock of who made it.
        let mark = Uuid::from_bytes(*MessageId::first_at(Timestamp::now().millis() - age).as_bytes());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.statements(async move |mut connection, _| {
            let prune = statement::<()>(PRUNE).bind::<Text, _>(channel.as_str()).bind::<SqlUuid, _>(mark).bind::<BigInt, _>(limit);
            prune.execute(&mut connection).await
        })
        .await
    }
}
