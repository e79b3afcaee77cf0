//! A crowd on some servers: readers, people who ask for things, and visitors who come in the middle.
//!
//! It is gathered, left to itself for as long as somebody likes, and ended: then nobody asks for anything new, everything owed
//! gets its time to come, and at last the servers are asked what they have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use reqwest::Method;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    account::{Account, Servers},
    history,
    people::Person,
    reader::{Manners, Reader},
    recorder::Recorder,
    trace::{View, What},
    verify::{Rules, Violation},
};
use crate::{channel::Channel, id::JobId, job::State};

/// How large a crowd is and what it does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `http://…`, all servers of one installation.
    pub servers: Vec<String>,
    pub seed: u64,
    pub rooms: usize,
    /// People who ask for things; each reads as well.
    pub people: usize,
    /// Those who read only.
    pub readers: usize,
    /// Those who come and go.
    pub visitors: usize,
    /// The longest that a person thinks between two requests.
    pub thinks: Duration,
    pub manners: Manners,
    /// How long what is owed may take, once nothing is broken any more.
    pub patience: Duration,
    pub rules: Rules,
}

/// A crowd that is at it.
pub struct Crowd {
    plan: Plan,
    pub recorder: Recorder,
    rooms: Vec<Channel>,
    residents: Vec<Account>,
    /// Nobody asks for anything new.
    enough: CancellationToken,
    /// Nobody reads any more.
    over: CancellationToken,
    people: JoinSet<()>,
    readers: JoinSet<()>,
}

impl Crowd {
    /// Brings everybody in; all read when this returns.
    ///
    /// # Errors
    /// Where the servers don't let them.
    pub async fn gather(plan: Plan) -> Result<Self> {
        // Where one is installed already, it is this one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let mut random = SmallRng::seed_from_u64(plan.seed);
        // Rooms nobody else uses: what is in them is this run's.
        let run: u32 = rand::random();
        let rooms =
            (0..plan.rooms).map(|room| format!("channel:check-{:x}-{run:x}-{room}", plan.seed).parse()).collect::<Result<Vec<Channel>, _>>()?;
        let servers = Arc::new(Servers { urls: plan.servers.clone(), patience: plan.patience });
        let (enough, over) = (CancellationToken::new(), CancellationToken::new());
        let recorder = Recorder::default();
        let mut crowd = Self { plan, recorder, rooms, residents: Vec::new(), enough, over, people: JoinSet::new(), readers: JoinSet::new() };
        let views = Arc::new(AtomicU32::new(0));
        let mut ready = Vec::new();
        for number in 0..crowd.plan.people + crowd.plan.readers {
            let account = Account::join(&servers, &crowd.recorder, &mut random, &format!("Checker {number}")).await?;
            ready.push(crowd.seat(&account, &views, &mut random));
            crowd.residents.push(account);
        }
        for reader in ready {
            timeout(crowd.plan.patience, reader.cancelled()).await.context("a reader gets no stream")?;
        }
        for number in 0..crowd.plan.people {
            crowd.employ(number, run, &mut random);
        }
        for number in 0..crowd.plan.visitors {
            let account = Account::join(&servers, &crowd.recorder, &mut random, &format!("Visitor {number}")).await?;
            crowd.people.spawn(visit(account, crowd.rooms.clone(), views.clone(), SmallRng::from_rng(&mut random), crowd.enough.clone()));
        }
        Ok(crowd)
    }

    fn seat(&mut self, account: &Account, views: &AtomicU32, random: &mut SmallRng) -> CancellationToken {
        let view = View(views.fetch_add(1, Ordering::Relaxed));
        let ready = CancellationToken::new();
        let mut manners = self.plan.manners;
        // The first ones are cut by faults alone.
        if view.0 < 2 {
            manners.cut_after = None;
        }
        let reader = Reader::new(view, account.clone(), self.rooms.clone(), manners, SmallRng::from_rng(random));
        self.readers.spawn(reader.read(ready.clone(), self.over.clone()));
        ready
    }

    fn employ(&mut self, number: usize, run: u32, random: &mut SmallRng) {
        let person = Person {
            account: self.residents[number].clone(),
            rooms: self.rooms.clone(),
            random: SmallRng::from_rng(random),
            name: format!("{:x} {run:x} {number}", self.plan.seed),
            thinks: Duration::ZERO..self.plan.thinks.max(Duration::from_millis(1)),
        };
        self.people.spawn(person.act(self.enough.clone()));
    }

    /// The rooms it is in.
    #[must_use]
    pub fn rooms(&self) -> &[Channel] {
        &self.rooms
    }

    /// Ends it, and gives everything that is wrong. Nothing must be broken any more.
    pub async fn end(mut self) -> Ended {
        self.enough.cancel();
        let everybody = async { while self.people.join_next().await.is_some() {} };
        if timeout(self.plan.patience * 2, everybody).await.is_err() {
            self.recorder.wrong(0, "the people of the run get no answers any more");
        }
        self.settle().await;
        if let Err(error) = self.take_stock().await {
            self.recorder.wrong(0, format!("{error:#}"));
        }
        self.over.cancel();
        while self.readers.join_next().await.is_some() {}
        let (violations, recorder) = (self.recorder.violations(self.plan.rules), self.recorder);
        Ended { recorder, violations, rules: self.plan.rules, seed: self.plan.seed }
    }

    /// Waits until nothing is owed any more, or the patience is over.
    async fn settle(&self) {
        let deadline = Instant::now() + self.plan.patience;
        while Instant::now() < deadline {
            let violations = self.recorder.violations(self.plan.rules);
            if violations.iter().all(|violation| !violation.may_be_late()) {
                return;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// Asks the servers what they have.
    async fn take_stock(&mut self) -> Result<()> {
        let mut random = SmallRng::seed_from_u64(self.plan.seed);
        // Whose stream had a gap is owed no end; the history is complete only with it.
        let deadline = Instant::now() + self.plan.patience;
        for (job, owner) in self.jobs() {
            self.ask_for_job(&owner, job, deadline, &mut random).await?;
        }
        self.settle().await;
        for channel in self.rooms.clone() {
            let history = history::read(&self.residents[0], &mut random, &channel).await?;
            self.recorder.note(What::Kept { channel: channel.clone(), messages: history.messages });
            for server in 0..self.plan.servers.len() {
                self.count_heads(server, &channel).await;
            }
        }
        Ok(())
    }

    /// Every job, with somebody who may ask for it.
    fn jobs(&self) -> BTreeMap<JobId, Account> {
        let owner_of = |content: &str| {
            let number: usize = content.rsplit(' ').nth(1)?.parse().ok()?;
            self.residents.get(number).cloned()
        };
        let jobs = self.recorder.trace().into_iter().filter_map(|record| match record.what {
            What::Said { job: Some(job), content, .. } => Some((job, owner_of(&content)?)),
            What::Asked { job, channel, .. } => {
                let owner = self.residents.iter().find(|account| Channel::of_user(&account.user) == channel)?;
                Some((job, owner.clone()))
            }
            _ => None,
        });
        jobs.collect()
    }

    async fn ask_for_job(&self, owner: &Account, job: JobId, deadline: Instant, random: &mut SmallRng) -> Result<()> {
        let path = format!("/api/jobs/{job}");
        loop {
            let answer = owner.insist(random, &Method::GET, &path, |request| request).await.with_context(|| format!("no server gives {path}"))?;
            owner.expect(&answer, &[200], &format!("GET {path}"));
            let Some(state) = answer.body["state"].as_str().and_then(|state| state.parse::<State>().ok()) else { return Ok(()) };
            if state.is_final() || Instant::now() > deadline {
                self.recorder.note(What::Ended { job, state });
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks one server who is in a room, until it says what is true, or the patience is over.
    async fn count_heads(&self, server: usize, channel: &Channel) {
        let open: BTreeSet<String> = self.residents.iter().map(|account| account.user.to_string()).collect();
        let (path, deadline) = (format!("/api/presence?channel={channel}"), Instant::now() + self.plan.patience);
        let mut said = BTreeSet::new();
        while said != open && Instant::now() < deadline {
            let request = self.residents[0].request(server, Method::GET, &path).timeout(Duration::from_secs(5));
            if let Ok(answer) = request.send().await
                && let Ok(body) = answer.json::<serde_json::Value>().await
            {
                let users = body["users"].as_array().into_iter().flatten();
                said = users.filter_map(|user| user["userId"].as_str()).map(str::to_owned).collect();
            }
            sleep(Duration::from_millis(100)).await;
        }
        let lists = (said.into_iter().collect(), open.into_iter().collect());
        self.recorder.note(What::Present { server, channel: channel.clone(), said: lists.0, open: lists.1 });
    }
}

/// A run that has ended.
pub struct Ended {
    pub recorder: Recorder,
    pub violations: Vec<Violation>,
    pub rules: Rules,
    pub seed: u64,
}

/// Comes in the middle, stays a little, goes, and comes again as a new view.
async fn visit(account: Account, rooms: Vec<Channel>, views: Arc<AtomicU32>, mut random: SmallRng, enough: CancellationToken) {
    let manners = Manners { cut_after: Some(Duration::from_millis(800)), silence: Duration::from_secs(5) };
    while !enough.is_cancelled() {
        let view = View(views.fetch_add(1, Ordering::Relaxed));
        let over = CancellationToken::new();
        let reader = Reader::new(view, account.clone(), rooms.clone(), manners, SmallRng::from_rng(&mut random));
        let stay = Duration::from_millis(random.random_range(100..3_000));
        let goes = async {
            tokio::select! {
                () = sleep(stay) => {}
                () = enough.cancelled() => {}
            }
            over.cancel();
        };
        tokio::join!(reader.read(CancellationToken::new(), over.clone()), goes);
        account.recorder.note(What::Left { view });
    }
}
