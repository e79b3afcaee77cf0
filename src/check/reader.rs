//! A reader: reads history, follows the stream, is cut again and again, and resumes on whichever server.
//!
//! It does what a browser does and no more: it gives the newest id back as it came, and reads history again where it is told
//! of a gap. It notes what it is told, and refuses to judge it.

use std::{str::FromStr as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use rand::{RngExt as _, rngs::SmallRng};
use reqwest::{Method, Response};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    account::Account,
    history,
    stream::{Block, Blocks},
    trace::{Places, View, What},
};
use crate::{
    channel::Channel,
    event::{Control, Fact},
    realtime::cursor::{Cursor, Key},
};

/// How readers behave.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long a stream is kept before it is cut, on average; without it, for ever.
    pub cut_after: Option<Duration>,
    /// A stream that was silent for so long is given up.
    pub silence: Duration,
}

/// One view.
pub struct Reader {
    pub view: View,
    pub account: Account,
    pub rooms: Vec<Channel>,
    pub manners: Manners,
    pub random: SmallRng,
    /// The newest id that was read.
    last_id: Option<String>,
    /// What the server said first of all.
    is_opened: bool,
}

impl Reader {
    pub fn new(view: View, account: Account, rooms: Vec<Channel>, manners: Manners, random: SmallRng) -> Self {
        Self { view, account, rooms, manners, random, last_id: None, is_opened: false }
    }

    /// Reads until `over`; `ready` is cancelled once the first stream is.
    pub async fn read(mut self, ready: CancellationToken, over: CancellationToken) {
        let reading = async {
            if let Err(error) = self.begin().await {
                self.account.recorder.wrong(0, format!("{} can't begin: {error:#}", self.view));
                return;
            }
            loop {
                let why = match self.follow(&ready).await {
                    Ok(why) => why.to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                if self.is_opened {
                    self.account.recorder.note(What::Cut { view: self.view, why });
                    self.is_opened = false;
                }
                sleep(Duration::from_millis(self.random.random_range(5..150))).await;
            }
        };
        tokio::select! {
            () = reading => ready.cancel(),
            () = over.cancelled() => {}
        }
    }

    async fn begin(&mut self) -> Result<()> {
        let mut cursors = Vec::new();
        for channel in self.rooms.clone() {
            let history = history::read(&self.account, &mut self.random, &channel).await?;
            cursors.push(history.cursor.clone());
            self.account.recorder.note(history.seen_by(self.view, channel));
        }
        self.last_id = (!cursors.is_empty()).then(|| cursors.join(","));
        Ok(())
    }

    /// One stream, from its request to its end; says why it ended.
    async fn follow(&mut self, ready: &CancellationToken) -> Result<&'static str> {
        let server = self.account.servers.any(&mut self.random);
        let mut response = self.open(server).await?;
        let lasts = self.manners.cut_after.map(|mean| mean.mul_f64(-self.random.random_range(0.01_f64..1.0).ln()));
        let end = Instant::now() + lasts.unwrap_or(Duration::from_hours(24));
        let mut blocks = Blocks::default();
        loop {
            let silence = Instant::now() + self.manners.silence;
            let piece = match timeout_at(end.min(silence), response.chunk()).await {
                Ok(piece) => piece?,
                Err(_) if Instant::now() >= end => return Ok("cut"),
                Err(_) => return Ok("silence"),
            };
            let Some(piece) = piece else { return Ok("ended") };
            for block in blocks.push(&piece).map_err(anyhow::Error::msg)? {
                if self.heed(server, block, ready)? {
                    return Ok("closing");
                }
            }
            // Some readers are slow now and then.
            if self.manners.cut_after.is_some() && self.random.random_bool(0.002) {
                sleep(Duration::from_millis(self.random.random_range(0..500))).await;
            }
        }
    }

    async fn open(&self, server: usize) -> Result<Response> {
        let query: Vec<String> = self.rooms.iter().map(|room| format!("channel={room}")).collect();
        let mut request = self.account.request(server, Method::GET, &format!("/api/events?{}", query.join("&")));
        if let Some(id) = &self.last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = timeout(self.manners.silence, request.send()).await.context("no answer")??;
        match response.status().as_u16() {
            200 => Ok(response),
            // Not now: full, or not able to.
            status @ (429 | 503) => bail!("{status}"),
            status => {
                self.account.recorder.wrong(server, format!("GET /api/events: {status}"));
                bail!("{status}")
            }
        }
    }

    /// Takes a block, and says whether it was the last one.
    fn heed(&mut self, server: usize, block: Block, ready: &CancellationToken) -> Result<bool> {
        let asked = self.places(self.last_id.as_deref());
        let cursor = self.places(block.id.as_deref());
        if let Some(id) = block.id {
            self.last_id = Some(id);
        }
        let (recorder, view) = (&self.account.recorder, self.view);
        let Some(data) = block.data else {
            if !cursor.is_empty() {
                recorder.note(What::Passed { view, cursor });
            }
            return Ok(false);
        };
        if block.name.is_empty() {
            let event = recorder.hear(&data).with_context(|| format!("no event: {data}"))?;
            let is_ephemeral = matches!(event.0.fact, Fact::Presence(_) | Fact::Typing { .. });
            if is_ephemeral != cursor.is_empty() {
                recorder.wrong(server, format!("an event with the wrong kind of id: {data}"));
            } else if !is_ephemeral {
                recorder.note(What::Told { view, cursor, event });
            }
            return Ok(false);
        }
        match serde_json::from_str(&data).with_context(|| format!("nothing about the stream: {data}"))? {
            Control::Ready { channels, .. } => {
                self.is_opened = true;
                recorder.note(What::Opened { view, server, asked, cursor, channels });
                ready.cancel();
            }
            Control::Reset { channel, reason, .. } => {
                recorder.note(What::Reset { view, channel: channel.clone(), reason });
                if channel.is_room() {
                    self.read_again(channel);
                }
            }
            Control::Closing { .. } => return Ok(true),
            Control::Ping { .. } => recorder.note(What::Passed { view, cursor }),
        }
        Ok(false)
    }

    /// The places of this view's channels in a cursor, or in several.
    fn places(&self, id: Option<&str>) -> Places {
        let Some(cursor) = id.and_then(|id| Cursor::from_str(id).ok()) else { return Places::new() };
        let channels = self.rooms.iter().cloned().chain([Channel::of_user(&self.account.user)]);
        channels.filter_map(|channel| Some((channel.clone(), cursor.place(Key::of(&channel))?.into()))).collect()
    }

    /// Reads a room's history beside the stream, as the reset demands.
    fn read_again(&mut self, channel: Channel) {
        let (view, account, mut random) = (self.view, self.account.clone(), rand::SeedableRng::from_rng(&mut self.random));
        tokio::spawn(async move {
            match history::read(&account, &mut random, &channel).await {
                Ok(history) => account.recorder.note(history.seen_by(view, channel)),
                Err(error) => account.recorder.wrong(0, format!("{view} can't read again: {error:#}")),
            }
        });
    }
}
