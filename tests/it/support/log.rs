//! A log in Redis on its own, and what it tells the hub.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_rt::Arbiter;
use persona_community::{
    channel::Channel,
    event::{ChatMessage, Event, Fact},
    id::{MessageId, OutboxId},
    log::{EventLog, Limits, News, Position, Publication, RedisAddress, RedisLog},
    timestamp::Timestamp,
    wake::Wakeups,
};

use super::eventually;

/// How much it keeps.
pub const LIMITS: Limits = Limits { events: 40, bytes: 20_000, retention: Duration::from_hours(1) };

/// A log, and what it tells the hub.
pub struct Heard {
    pub log: RedisLog,
    pub wakeups: Wakeups,
    pub news: Arc<Mutex<Vec<News>>>,
    _thread: Arbiter,
}

impl Heard {
    /// A log at this address, connected.
    pub async fn at(url: &str) -> Self {
        let news: Arc<Mutex<Vec<News>>> = Arc::default();
        let told = news.clone();
        let thread = Arbiter::new();
        let address = RedisAddress::parse(url, "test:").unwrap();
        let (wakeups, relay) = Wakeups::relayed();
        let log = RedisLog::start(address, LIMITS, Arc::new(move |news| told.lock().unwrap().push(news)), relay, &thread.handle());
        let heard = Self { log, wakeups, news, _thread: thread };
        heard.ready().await;
        heard
    }

    pub async fn ready(&self) {
        eventually("Redis is there", || async { self.log.check().await.ok() }).await;
    }

    /// The offsets of the events that were told.
    pub fn offsets(&self, channel: &Channel) -> Vec<u64> {
        let offset = |news: &News| match news {
            News::Logged(logged) if logged.channel == *channel => Some(logged.position.offset),
            _ => None,
        };
        self.news.lock().unwrap().iter().filter_map(offset).collect()
    }

    /// Waits until this event was told.
    pub async fn told(&self, channel: &Channel, offset: u64) {
        eventually("the event is told", || async { self.offsets(channel).contains(&offset).then_some(()) }).await;
    }

    /// Waits until the room would have been sent to read up to this place.
    pub async fn sent_to(&self, channel: &Channel, head: Position) {
        let is_sent = |news: &News| matches!(news, News::Head(about, newest) if about == channel && *newest == head);
        eventually("a hole is found", || async { self.news.lock().unwrap().iter().any(is_sent).then_some(()) }).await;
    }

    /// Follows a channel, and waits until an event of `other` comes through.
    pub async fn follow(&self, channel: &Channel, other: &RedisLog) {
        self.log.follow(channel);
        self.log.head(channel).await.unwrap();
        eventually("the channel is heard", || async {
            let position = say(other, channel, "mark").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.offsets(channel).contains(&position.offset).then_some(())
        })
        .await;
    }
}

/// A room.
pub fn room(name: &str) -> Channel {
    format!("channel:{name}").parse().unwrap()
}

/// Somebody says something.
pub fn chat(channel: &Channel, content: &str) -> Event {
    let result = ChatMessage {
        id: MessageId::new(),
        content: content.into(),
        user_id: "u_1".parse().unwrap(),
        user_name: "Ada".into(),
        timestamp: Timestamp::now(),
        client_id: None,
    };
    Event::now(channel.clone(), Fact::Chat { result })
}

/// Logs that somebody says something, and gives its place.
pub async fn say(log: &impl EventLog, channel: &Channel, content: &str) -> Position {
    log.publish(Publication::once(&chat(channel, content), OutboxId::new())).await.unwrap().unwrap()
}
