//! Reads the history of a room to its beginning.

use anyhow::{Context as _, Result};
use rand::rngs::SmallRng;
use reqwest::Method;
use serde::Deserialize;

use super::{account::Account, trace::Streaming};
use crate::{
    channel::Channel,
    check::trace::{View, What},
    id::MessageId,
};

/// All that history has of a room.
#[derive(Debug)]
pub struct History {
    /// Each message with what it says, oldest first.
    pub messages: Vec<(MessageId, String)>,
    /// How many of them stand in older pages than the newest.
    pub older: usize,
    pub streaming: Vec<Streaming>,
    /// Where a stream goes on after it.
    pub cursor: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    messages: Vec<Message>,
    streaming: Vec<Streaming>,
    next_before: Option<MessageId>,
    cursor: String,
}

#[derive(Deserialize)]
struct Message {
    id: MessageId,
    content: String,
}

/// Reads page after page.
///
/// # Errors
/// Where no server gives one.
pub async fn read(account: &Account, random: &mut SmallRng, channel: &Channel) -> Result<History> {
    let newest = page(account, random, channel, None).await?;
    let Page { messages, streaming, next_before: mut before, cursor } = newest;
    let mut messages = said(messages);
    let of_newest = messages.len();
    while let Some(id) = before {
        let older = page(account, random, channel, Some(id)).await?;
        before = older.next_before;
        messages.splice(..0, said(older.messages));
    }
    Ok(History { older: messages.len() - of_newest, messages, streaming, cursor })
}

impl History {
    /// As a view has read it.
    pub fn seen_by(self, view: View, channel: Channel) -> What {
        let mut older: Vec<MessageId> = self.messages.into_iter().map(|(id, _)| id).collect();
        let messages = older.split_off(self.older);
        What::Page { view, channel, messages, older, streaming: self.streaming }
    }
}

fn said(messages: Vec<Message>) -> Vec<(MessageId, String)> {
    messages.into_iter().map(|message| (message.id, message.content)).collect()
}

async fn page(account: &Account, random: &mut SmallRng, channel: &Channel, before: Option<MessageId>) -> Result<Page> {
    let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
    let path = format!("/api/chat/messages?channel={channel}&limit=100{before}");
    let answer = account.insist(random, &Method::GET, &path, |request| request).await.with_context(|| format!("no server gives {path}"))?;
    account.expect(&answer, &[200], &format!("GET {path}"));
    serde_json::from_value(answer.body).with_context(|| format!("GET {path} is no page"))
}
