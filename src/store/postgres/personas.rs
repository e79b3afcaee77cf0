//! Personas: kept, listed, replaced, forgotten.

use async_trait::async_trait;
use diesel::{
    Queryable,
    result::Error,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};

use super::{PostgresStore, literal::statement, transaction::Doubt, unreadable};
use crate::{
    id::PersonaId,
    persona::Persona,
    store::{Kept, MAX_PERSONAS_OF_ROOM, PersonaFilter, PersonaStore, StoreError},
    timestamp::Timestamp,
};

#[derive(Queryable)]
struct Row {
    id: String,
    channel: String,
    name: String,
    prompt: String,
    answers: String,
    route: String,
    parameters: String,
    created_at: i64,
    updated_at: i64,
}

type Columns = (Text, Text, Text, Text, Text, Text, Text, BigInt, BigInt);

impl Row {
    fn of(persona: &Persona) -> Result<Self, Error> {
        let unwritable = |error: serde_json::Error| Error::SerializationError(error.into());
        Ok(Self {
            id: persona.id.to_string(),
            channel: persona.channel.to_string(),
            name: persona.name.clone(),
            prompt: persona.prompt.clone(),
            answers: persona.answers.to_string(),
            route: serde_json::to_string(&persona.route).map_err(unwritable)?,
            parameters: serde_json::to_string(&persona.parameters).map_err(unwritable)?,
            created_at: persona.created_at.millis(),
            updated_at: persona.updated_at.millis(),
        })
    }

    fn read(self) -> Result<Persona, Error> {
        Ok(Persona {
            id: self.id.parse().map_err(|_| unreadable("id of a persona"))?,
            channel: self.channel.parse().map_err(|_| unreadable("channel"))?,
            name: self.name,
            prompt: self.prompt,
            answers: self.answers.parse().map_err(|_| unreadable("way of answering"))?,
            route: serde_json::from_str(&self.route).map_err(|_| unreadable("route of a persona"))?,
            parameters: serde_json::from_str(&self.parameters).map_err(|_| unreadable("parameters of a persona"))?,
            created_at: Timestamp::from_millis(self.created_at),
            updated_at: Timestamp::from_millis(self.updated_at),
        })
    }
}

/// What [`Row`] reads.
macro_rules! columns {
    () => {
        "select id, channel, name, prompt, answers, route, parameters, created_at, updated_at from persona "
    };
}

const ALL: &str = concat!(columns!(), "where id > $1 order by id limit $2");
const OF_CHANNEL: &str = concat!(columns!(), "where channel = $1 and id > $2 order by id limit $3");
const ONE: &str = concat!(columns!(), "where id = $1");

async fn list(mut connection: &AsyncPgConnection, filter: &PersonaFilter) -> Result<Vec<Persona>, Error> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let after = filter.after.as_ref().map(PersonaId::as_str).unwrap_or_default();
    let rows: Vec<Row> = match &filter.channel {
        None => statement::<Columns>(ALL).bind::<Text, _>(after).bind::<BigInt, _>(limit).load(&mut connection).await?,
        Some(channel) => {
            let asked = statement::<Columns>(OF_CHANNEL).bind::<Text, _>(channel.as_str()).bind::<Text, _>(after);
            asked.bind::<BigInt, _>(limit).load(&mut connection).await?
        }
    };
    rows.into_iter().map(Row::read).collect()
}

async fn one(mut connection: &AsyncPgConnection, id: &PersonaId) -> Result<Option<Persona>, Error> {
    let rows: Vec<Row> = statement::<Columns>(ONE).bind::<Text, _>(id.as_str()).load(&mut connection).await?;
    rows.into_iter().next().map(Row::read).transpose()
}

// Who is not new keeps the time of its making.
const PUT: &str = "insert into persona (id, channel, name, prompt, answers, route, parameters, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict (id) do update set channel = excluded.channel, name = excluded.name, prompt = excluded.prompt,
    answers = excluded.answers, route = excluded.route, parameters = excluded.parameters, updated_at = excluded.updated_at";
const OTHERS: &str = "select count(*) from persona where channel = $1 and id <> $2";
const MADE: &str = "select created_at from persona where id = $1";

async fn put(mut connection: &AsyncPgConnection, new: &Persona) -> Result<Kept, Error> {
    // Two that come to a room at once must not both be its last.
    connection.batch_execute("set transaction isolation level serializable").await?;
    let others = statement::<BigInt>(OTHERS).bind::<Text, _>(new.channel.as_str()).bind::<Text, _>(new.id.as_str());
    let others: i64 = others.get_result(&mut connection).await?;
    if others >= i64::from(MAX_PERSONAS_OF_ROOM) {
        return Ok(Kept::RoomIsFull);
    }
    let row = Row::of(new)?;
    let made: Vec<i64> = statement::<BigInt>(MADE).bind::<Text, _>(&row.id).load(&mut connection).await?;
    let put = statement::<()>(PUT).bind::<Text, _>(&row.id).bind::<Text, _>(&row.channel).bind::<Text, _>(&row.name);
    let put = put.bind::<Text, _>(&row.prompt).bind::<Text, _>(&row.answers).bind::<Text, _>(&row.route).bind::<Text, _>(&row.parameters);
    put.bind::<BigInt, _>(row.created_at).bind::<BigInt, _>(row.updated_at).execute(&mut connection).await?;
    // The same time of making is this call's own, from a commit that nobody heard of.
    Ok(if made.iter().all(|made| *made == row.created_at) { Kept::Created } else { Kept::Replaced })
}

const DELETE: &str = "delete from persona where id = $1";

#[async_trait]
impl PersonaStore for PostgresStore {
    async fn personas(&self, filter: PersonaFilter) -> Result<Vec<Persona>, StoreError> {
        self.statements(async move |connection, _| list(connection, &filter).await).await
    }

    async fn persona(&self, id: &PersonaId) -> Result<Option<Persona>, StoreError> {
        let id = id.clone();
        self.statements(async move |connection, _| one(connection, &id).await).await
    }

    async fn put_persona(&self, persona: Persona) -> Result<Kept, StoreError> {
        self.transaction(async move |connection, _| put(connection, &persona).await).await
    }

    async fn delete_persona(&self, id: &PersonaId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.statements(async move |mut connection, doubt| {
            let gone = statement::<()>(DELETE).bind::<Text, _>(id.as_str()).execute(&mut connection).await?;
            Ok(gone > 0 || doubt == Doubt::MayBeDone)
        })
        .await
    }
}
