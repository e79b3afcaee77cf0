//! Tells other processes who is in the rooms here, and asks who is in them there.
//!
//! ```text
//! room ──Said──▶ Announcer ──script──▶ Redis: people of a room and process, under its lease; message ──▶ other processes
//! ```
//! Changes are gathered for a moment, a room's in one message. Each has a version, so that who has missed one asks for
//! everybody. One lease a bucket and process says that what it has said still holds: one short command each, however many
//! rooms there are. Refuses to know what rooms make of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::Value;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Bucket, Call, Source, message::Message, script};
use crate::{
    channel::Channel,
    event::Person,
    id::UserId,
    log::{
        Listener, LogError, News,
        elsewhere::{Changes, Crowd, Heard, Instance, Said},
    },
};

/// How long changes of a room are gathered.
const GATHER: Duration = Duration::from_millis(50);
/// How often leases are renewed.
const BEAT: Duration = Duration::from_secs(2);
/// How long a process counts that does not renew its lease.
const COUNTS: Duration = Duration::from_secs(6);
/// How long what it has said is kept then, should it come back.
const KEPT: Duration = Duration::from_mins(10);

/// What is to be done.
#[derive(Debug)]
pub enum Errand {
    /// Tell others.
    Say(Channel, Said),
    /// Ask who is in a room elsewhere.
    Ask(Channel),
    /// Redis has this version of what was said of a room.
    Known(Channel, Option<u64>),
}

/// Tells others of this process.
pub struct Announcer {
    source: Source,
    instance: Instance,
    listener: Listener,
    rooms: HashMap<Channel, Ours>,
    asked: HashSet<Channel>,
    /// The newest version of any room: a room that is told of anew must not begin with one that it had before.
    version: u64,
    /// The life of the server that has been told.
    life: String,
}

/// What was and is to be said of a room.
#[derive(Default)]
struct Ours {
    version: u64,
    joined: HashMap<UserId, Arc<Person>>,
    left: HashSet<UserId>,
    /// What is to be said replaces all that was said.
    is_all: bool,
    /// There is something to say.
    is_due: bool,
    /// What was said has not arrived, or is gone: everybody must be told anew.
    is_lost: bool,
}

impl Announcer {
    /// One that speaks for `instance`, and tells `listener` what is heard.
    pub fn new(source: Source, instance: Instance, listener: Listener) -> Self {
        Self { source, instance, listener, rooms: HashMap::new(), asked: HashSet::new(), version: 0, life: String::new() }
    }

    /// Does errands until nobody is left who could send any.
    pub async fn run(mut self, mut errands: mpsc::UnboundedReceiver<Errand>) {
        let mut beat = interval(BEAT.mul_f64(rand::random_range(0.9..1.0)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_errands = false;
        loop {
            tokio::select! {
                errand = errands.recv() => {
                    let Some(errand) = errand else { return };
                    self.take(errand);
                    has_errands = true;
                }
                () = sleep(GATHER), if has_errands => {
                    while let Ok(errand) = errands.try_recv() {
                        self.take(errand);
                    }
                    has_errands = false;
                    self.say().await;
                    self.ask();
                }
                _ = beat.tick() => self.renew().await,
            }
        }
    }

    fn take(&mut self, errand: Errand) {
        match errand {
            Errand::Say(channel, Said::Typing(typing)) => {
                let (source, message) = (self.source.clone(), Message::typing(self.instance, &typing));
                actix_rt::spawn(async move {
                    // Typing that is not heard is soon over.
                    let _ = source.publish(&source.keys.topic(&channel), &message).await;
                });
            }
            Errand::Say(channel, Said::Changed { joined, left }) => {
                let room = self.rooms.entry(channel).or_default();
                room.is_due = true;
                for person in joined {
                    room.left.remove(&person.user_id);
                    room.joined.insert(person.user_id.clone(), person);
                }
                for user in left {
                    room.joined.remove(&user);
                    room.left.insert(user);
                }
            }
            Errand::Say(channel, Said::Everybody(people)) => {
                let joined = people.into_iter().map(|person| (person.user_id.clone(), person)).collect();
                let version = self.rooms.get(&channel).map_or(0, |room| room.version);
                self.rooms.insert(channel, Ours { version, joined, is_all: true, is_due: true, ..Ours::default() });
            }
            Errand::Ask(channel) => {
                self.asked.insert(channel);
            }
            Errand::Known(channel, version) => {
                if let Some(room) = self.rooms.get_mut(&channel)
                    && !room.is_due
                    && version != Some(room.version)
                {
                    room.is_lost = true;
                }
            }
        }
    }

    /// Says what is due, of all rooms at once.
    async fn say(&mut self) {
        let mut calls = Vec::new();
        for (channel, room) in self.rooms.iter_mut().filter(|(_, room)| room.is_due) {
            // A first version must not look like what follows another.
            room.version = if room.version == 0 { self.version + 2 } else { room.version + 1 };
            self.version = self.version.max(room.version);
            if let Ok(call) = call(&self.source, self.instance, channel, room) {
                calls.push((channel.clone(), call));
            } else {
                room.is_lost = true;
            }
            (room.is_due, room.is_all) = (false, false);
            room.joined.clear();
            room.left.clear();
        }
        let link = &self.source.link;
        let mut said: FuturesUnordered<_> = calls.into_iter().map(async |(channel, call)| (channel, link.call::<usize>(&call).await)).collect();
        while let Some((channel, count)) = said.next().await {
            match count {
                Ok(0) => drop(self.rooms.remove(&channel)),
                Ok(_) => {}
                Err(_) => self.rooms.entry(channel).or_default().is_lost = true,
            }
        }
    }

    fn ask(&mut self) {
        for channel in self.asked.drain() {
            let (source, listener, instance) = (self.source.clone(), self.listener.clone(), self.instance);
            actix_rt::spawn(async move {
                // Where Redis is away, a comparison of versions will ask again.
                if let Ok(crowds) = people(&source, instance, &channel).await {
                    listener(News::Elsewhere(channel, Heard::Everybody(crowds)));
                }
            });
        }
    }

    /// Renews the leases, and has rooms tell everybody anew where what was said is lost.
    async fn renew(&mut self) {
        let Ok(live) = self.source.link.live() else { return };
        let buckets: HashSet<Bucket> = self.rooms.keys().map(Bucket::of).collect();
        let leases = buckets.into_iter().map(async |bucket| {
            let mut lease = redis::cmd("SET");
            lease.arg(self.source.keys.within(bucket, &format!("lease:{}", self.instance))).arg("").arg("PX").arg(millis(KEPT));
            self.source.link.ask::<Value>(&lease).await.is_ok()
        });
        let renewed: Vec<bool> = leases.collect::<FuturesUnordered<_>>().collect().await;
        if !renewed.contains(&true) {
            return;
        }
        let is_new = std::mem::replace(&mut self.life, live.life.clone()) != live.life;
        for (channel, room) in &mut self.rooms {
            if std::mem::take(&mut room.is_lost) || is_new {
                (self.listener)(News::Elsewhere(channel.clone(), Heard::TellEverybody));
            }
        }
    }
}

fn call(source: &Source, instance: Instance, channel: &Channel, room: &Ours) -> Result<Call, LogError> {
    let keys = source.keys.of(channel);
    let changes = Changes { joined: room.joined.values().map(|person| Person::clone(person)).collect(), left: room.left.iter().cloned().collect() };
    let message = if room.is_all { Message::written(instance) } else { Message::changed(instance, room.version, &changes) };
    let (people, lease) = (format!("{}{instance}", keys.people), format!("{}{instance}", keys.leases));
    let mut call = script::ANNOUNCE
        .on(&[&keys.present, &people, &lease])
        .with(source.ttl)
        .with(millis(KEPT))
        .with(source.link.live()?.publish())
        .with(&keys.topic)
        .with(message)
        .with(instance.to_string())
        .with(room.version)
        .with(u8::from(room.is_all))
        .with(changes.left.len());
    for user in &changes.left {
        call = call.with(user.as_str());
    }
    for person in &changes.joined {
        call = call.with(person.user_id.as_str()).with(&person.user_name);
    }
    Ok(call)
}

/// What a script that looks at leases is told.
pub fn with_leases(call: Call, source: &Source, leases: &str, people: &str) -> Call {
    call.with(leases).with(people).with(millis(KEPT.saturating_sub(COUNTS))).with(source.ttl)
}

/// What a script tells of one process: which, the version of its crowd, and of everybody there the id and the name.
type Told = (String, u64, Vec<(String, String)>);

/// Everybody who is in a room at other processes than this.
pub async fn people(source: &Source, but_for: Instance, channel: &Channel) -> Result<Vec<Crowd>, LogError> {
    let keys = source.keys.of(channel);
    let call = with_leases(script::PEOPLE.on(&[&keys.present]), source, &keys.leases, &keys.people);
    let found: Vec<Told> = source.link.call_for_long(&call).await?;
    let crowd = |(at, version, people): Told| {
        let people = people.into_iter().filter_map(|(user, user_name)| Some(Person { user_id: user.parse().ok()?, user_name }));
        Some(Crowd { at: at.parse().ok()?, version, people: people.collect() })
    };
    Ok(found.into_iter().filter_map(crowd).filter(|crowd| crowd.at != but_for).collect())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
