//! Personas: kept, listed, replaced, forgotten.

use async_trait::async_trait;
use diesel::{
    AsChangeset, ExpressionMethods, Insertable, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper, SqliteConnection,
    result::Error,
};

use super::{SqliteStore, schema::persona, unreadable};
use crate::{
    id::PersonaId,
    persona::Persona,
    store::{Kept, MAX_PERSONAS_OF_ROOM, PersonaFilter, PersonaStore, StoreError},
    timestamp::Timestamp,
};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = persona, check_for_backend(diesel::sqlite::Sqlite))]
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

fn list(connection: &mut SqliteConnection, filter: &PersonaFilter) -> Result<Vec<Persona>, Error> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let mut query = persona::table.order(persona::id).limit(limit).select(Row::as_select()).into_boxed();
    if let Some(channel) = &filter.channel {
        query = query.filter(persona::channel.eq(channel.as_str()));
    }
    if let Some(after) = &filter.after {
        query = query.filter(persona::id.gt(after.as_str()));
    }
    query.load::<Row>(connection)?.into_iter().map(Row::read).collect()
}

fn one(connection: &mut SqliteConnection, id: &PersonaId) -> Result<Option<Persona>, Error> {
    let row = persona::table.find(id.as_str()).select(Row::as_select()).get_result(connection).optional()?;
    row.map(Row::read).transpose()
}

fn put(connection: &mut SqliteConnection, new: &Persona) -> Result<Kept, Error> {
    let others = persona::table.filter(persona::channel.eq(new.channel.as_str())).filter(persona::id.ne(new.id.as_str()));
    let others: i64 = others.count().get_result(connection)?;
    if others >= i64::from(MAX_PERSONAS_OF_ROOM) {
        return Ok(Kept::RoomIsFull);
    }
    let mut row = Row::of(new)?;
    let made: Option<i64> = persona::table.find(new.id.as_str()).select(persona::created_at).get_result(connection).optional()?;
    let Some(made) = made else {
        diesel::insert_into(persona::table).values(row).execute(connection)?;
        return Ok(Kept::Created);
    };
    row.created_at = made;
    diesel::update(persona::table.find(new.id.as_str())).set(row).execute(connection)?;
    Ok(Kept::Replaced)
}

#[async_trait]
impl PersonaStore for SqliteStore {
    async fn personas(&self, filter: PersonaFilter) -> Result<Vec<Persona>, StoreError> {
        self.readers.call(move |connection| list(connection, &filter)).await
    }

    async fn persona(&self, id: &PersonaId) -> Result<Option<Persona>, StoreError> {
        let id = id.clone();
        self.readers.call(move |connection| one(connection, &id)).await
    }

    async fn put_persona(&self, persona: Persona) -> Result<Kept, StoreError> {
        self.writer.call(move |connection| put(connection, &persona)).await
    }

    async fn delete_persona(&self, id: &PersonaId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer.call(move |connection| Ok(diesel::delete(persona::table.find(id.as_str())).execute(connection)? > 0)).await
    }
}
