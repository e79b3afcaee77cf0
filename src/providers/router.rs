//! Routes a request to the first provider that can serve it, and on to the next where one fails.
//!
//! Each kind of work has an ordered list of targets. A target that has failed is left alone for a while: briefly where it has
//! too much to do, long where its account or its key is the trouble. After the first word, the next provider begins anew and
//! says so. Refuses to pay twice: a picture that may have been paid for is not asked for again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};

use super::{Fault, ImageRequest, ImageStep, Provider, ProviderError, Purpose, Steps, TextRequest, TextStep};
use crate::model::Target;

/// Which targets serve what, in order of preference.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    pub chat: Vec<Target>,
    pub text: Vec<Target>,
    pub image: Vec<Target>,
}

/// The first provider that can, and the next where it can't.
pub struct Router {
    providers: HashMap<&'static str, Arc<dyn Provider>>,
    routes: Routes,
    breakers: Mutex<HashMap<Target, Breaker>>,
}

/// How long a target is left alone after a fault that only its operator can mend.
const LONG: Duration = Duration::from_mins(10);
/// After a fault that time mends.
const SHORT: Duration = Duration::from_secs(20);
/// How many faults in a row that may be chance.
const CHANCE: u32 = 3;

#[derive(Debug, Default)]
struct Breaker {
    faults: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    fn failed(&mut self, error: &ProviderError, now: Instant) {
        self.faults += 1;
        let pause = match error.fault {
            Fault::OutOfCredit | Fault::Unauthorized | Fault::ModelMissing => Some(error.retry_after.unwrap_or(LONG)),
            Fault::Overloaded => Some(error.retry_after.unwrap_or(SHORT).mul_f64(rand::random_range(1.0..1.3))),
            Fault::Rejected | Fault::Blocked => None,
            _ => (self.faults >= CHANCE).then(|| SHORT.mul_f64(rand::random_range(1.0..1.5))),
        };
        self.closed_until = pause.map(|pause| now + pause);
    }

    fn is_open(&self, now: Instant) -> bool {
        self.closed_until.is_none_or(|until| now >= until)
    }
}

impl Router {
    /// A router over these providers. Targets that name another one are passed over.
    #[must_use]
    pub fn new(providers: Vec<Arc<dyn Provider>>, routes: Routes) -> Self {
        Self { providers: providers.into_iter().map(|provider| (provider.name(), provider)).collect(), routes, breakers: Mutex::default() }
    }

    /// The targets to try now: those that are not left alone, or, where that is all of them, the one that was first.
    fn targets(&self, list: &[Target], model: Option<&str>) -> Vec<(Target, Arc<dyn Provider>)> {
        let now = Instant::now();
        let breakers = self.breakers();
        let known = |target: &&Target| model.is_none_or(|model| model == target.model || model == target.to_string());
        let with_provider = |target: &Target| Some((target.clone(), self.providers.get(target.provider.as_str())?.clone()));
        let all: Vec<_> = list.iter().filter(known).filter_map(with_provider).collect();
        let open: Vec<_> = all.iter().filter(|(target, _)| breakers.get(target).is_none_or(|breaker| breaker.is_open(now))).cloned().collect();
        if open.is_empty() { all.into_iter().take(1).collect() } else { open }
    }

    fn note(&self, target: &Target, outcome: Result<(), &ProviderError>) {
        let mut breakers = self.breakers();
        match outcome {
            Ok(()) => drop(breakers.remove(target)),
            Err(error) => {
                log::warn!("{target}: {error}");
                breakers.entry(target.clone()).or_default().failed(error, Instant::now());
            }
        }
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<Target, Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps of the first target that comes to its end; `open` begins one, `is_end` knows the end.
    fn route<T: 'static>(
        self: Arc<Self>,
        targets: Vec<(Target, Arc<dyn Provider>)>,
        open: impl Fn(&Target, Arc<dyn Provider>) -> Steps<T> + 'static,
        begin: fn(&'static str) -> T,
        is_end: fn(&T) -> bool,
    ) -> Steps<T> {
        if targets.is_empty() {
            let none = ProviderError::new("router", Fault::ModelMissing, "no provider is configured for this, or none has this model");
            return stream::iter([Err(none)]).boxed_local();
        }
        let state = Routed { targets: targets.into_iter().collect(), current: None, done: false };
        stream::unfold((self, state, open), move |(router, mut state, open)| async move {
            let step = state.next(&router, &open, begin, is_end).await?;
            Some((step, (router, state, open)))
        })
        .boxed_local()
    }
}

/// A request on its way through its targets.
struct Routed<T> {
    targets: VecDeque<(Target, Arc<dyn Provider>)>,
    current: Option<(Target, Steps<T>)>,
    done: bool,
}

impl<T> Routed<T> {
    async fn next(
        &mut self,
        router: &Router,
        open: &impl Fn(&Target, Arc<dyn Provider>) -> Steps<T>,
        begin: fn(&'static str) -> T,
        is_end: fn(&T) -> bool,
    ) -> Option<Result<T, ProviderError>> {
        if self.done {
            return None;
        }
        loop {
            let Some((target, steps)) = &mut self.current else {
                let (target, provider) = self.targets.pop_front()?;
                let name = provider.name();
                let steps = open(&target, provider);
                self.current = Some((target, steps));
                return Some(Ok(begin(name)));
            };
            match steps.next().await {
                Some(Ok(step)) => {
                    if is_end(&step) {
                        router.note(target, Ok(()));
                        self.done = true;
                    }
                    return Some(Ok(step));
                }
                Some(Err(error)) => {
                    router.note(target, Err(&error));
                    self.current = None;
                    if self.targets.is_empty() || !error.is_worth_another() {
                        self.done = true;
                        return Some(Err(error));
                    }
                }
                None => {
                    self.done = true;
                    return None;
                }
            }
        }
    }
}

impl Provider for Router {
    fn name(&self) -> &'static str {
        "router"
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        let list = match request.purpose {
            _ if !request.route.is_empty() => &request.route,
            Purpose::Chat => &self.routes.chat,
            Purpose::Text => &self.routes.text,
        };
        let targets = self.targets(list, request.model.as_deref());
        let open =
            move |target: &Target, provider: Arc<dyn Provider>| provider.text(TextRequest { model: Some(target.model.clone()), ..request.clone() });
        self.route(targets, open, |provider| TextStep::Begin { provider }, |step| matches!(step, TextStep::Done { .. }))
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let list = if request.route.is_empty() { &self.routes.image } else { &request.route };
        let targets = self.targets(list, request.model.as_deref());
        let open =
            move |target: &Target, provider: Arc<dyn Provider>| provider.image(ImageRequest { model: Some(target.model.clone()), ..request.clone() });
        self.route(targets, open, |provider| ImageStep::Begin { provider }, |step| matches!(step, ImageStep::Done { .. }))
    }
}
