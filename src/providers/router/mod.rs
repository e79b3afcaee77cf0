//! Routes a request to the first provider that can serve it, and on to the next where one fails.
//!
//! Each kind of work has an ordered list of targets. What has failed is left alone for a while ([`breaker`]); who has as many
//! requests as it may is waited for, for a while ([`turns`]). After the first word, the next provider begins anew and says so. Refuses to
//! pay twice: a picture that may have been paid for is not asked for again.

pub mod breaker;
pub mod turns;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use self::{
    breaker::{Admission, Breakers, Rests},
    turns::{Places, Turn, Turns},
};
use super::{Fault, ImageRequest, ImageStep, Provider, ProviderError, Purpose, Steps, TextRequest, TextStep, wire::Patience};
use crate::model::Target;

/// Which targets serve what, in order of preference.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    pub chat: Vec<Target>,
    pub text: Vec<Target>,
    pub image: Vec<Target>,
}

/// The first provider that can, and the next where it can't.
#[derive(Clone)]
pub struct Router {
    providers: Arc<HashMap<&'static str, Arc<dyn Provider>>>,
    routes: Arc<Routes>,
    breakers: Arc<Breakers>,
    turns: Arc<dyn Turns>,
    patience: Patience,
    /// Of the job whose router this is.
    places: Option<Arc<dyn Places>>,
}

impl Router {
    /// A router over these providers. Targets that name another one are passed over.
    #[must_use]
    pub fn new(providers: Vec<Arc<dyn Provider>>, routes: Routes, rests: Rests, turns: Arc<dyn Turns>, patience: Patience) -> Self {
        let providers = providers.into_iter().map(|provider| (provider.name(), provider)).collect();
        let (providers, routes, breakers) = (Arc::new(providers), Arc::new(routes), Arc::new(Breakers::new(rests)));
        Self { providers, routes, breakers, turns, patience, places: None }
    }

    /// The targets of a list that have this model, where one is named.
    fn targets(&self, list: &[Target], model: Option<&str>) -> VecDeque<Way> {
        let known = |target: &&Target| model.is_none_or(|model| model == target.model || model == target.to_string());
        let with_provider = |target: &Target| Some(Way { target: target.clone(), provider: self.providers.get(target.provider.as_str())?.clone() });
        list.iter().filter(known).filter_map(with_provider).collect()
    }

    /// The steps of the first target that comes to its end.
    fn route<T: Step>(self: Arc<Self>, targets: VecDeque<Way>, open: impl Fn(&Target, Arc<dyn Provider>) -> Steps<T> + 'static) -> Steps<T> {
        let deadline = Instant::now() + self.patience.total;
        let routed = Routed { router: self, targets, open, deadline, current: None, resting: Vec::new(), failed: None, done: false };
        stream::unfold(routed, |mut routed| async move { Some((routed.next().await?, routed)) }).boxed_local()
    }
}

/// What the router must know of a step.
trait Step: 'static {
    /// The step with which a provider begins with a model.
    fn begin(provider: &'static str, model: String) -> Self;

    /// Whether this is the last one.
    fn is_end(&self) -> bool;

    /// Whether what is being made may have to be paid for from here on.
    fn may_cost(&self) -> bool;
}

impl Step for TextStep {
    fn begin(provider: &'static str, model: String) -> Self {
        Self::Begin { provider, model }
    }

    fn is_end(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    // A text is cheap, and its reader waits for it.
    fn may_cost(&self) -> bool {
        false
    }
}

impl Step for ImageStep {
    fn begin(provider: &'static str, model: String) -> Self {
        Self::Begin { provider, model }
    }

    fn is_end(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    fn may_cost(&self) -> bool {
        matches!(self, Self::Asked)
    }
}

/// A target, and who serves it.
#[derive(Clone)]
struct Way {
    target: Target,
    provider: Arc<dyn Provider>,
}

/// A target that is being asked.
struct Current<T> {
    way: Way,
    /// Nothing while it is waited for.
    open: Option<(Turn, Steps<T>)>,
    may_cost: bool,
}

/// A request on its way through its targets.
struct Routed<T, O> {
    router: Arc<Router>,
    targets: VecDeque<Way>,
    open: O,
    deadline: Instant,
    current: Option<Current<T>>,
    /// Those that were passed over: for how long, and whether they may be asked all the same.
    resting: Vec<(Way, Duration, bool)>,
    /// Why the last one could not.
    failed: Option<ProviderError>,
    done: bool,
}

impl<T: Step, O: Fn(&Target, Arc<dyn Provider>) -> Steps<T>> Routed<T, O> {
    async fn next(&mut self) -> Option<Result<T, ProviderError>> {
        if self.done {
            return None;
        }
        loop {
            if self.current.is_none() {
                return Some(self.begin());
            }
            match self.step().await {
                Ok(step) => {
                    self.done = step.is_end();
                    return Some(Ok(step));
                }
                Err(error) => {
                    if let Err(error) = self.turn_to_another(error) {
                        self.done = true;
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Turns to the next target that may be asked.
    fn begin(&mut self) -> Result<T, ProviderError> {
        while let Some(way) = self.targets.pop_front() {
            match self.router.breakers.admit(&way.target) {
                Admission::Granted => return Ok(self.turn_to(way)),
                Admission::Resting { rest, is_account } => self.resting.push((way, rest, is_account)),
            }
        }
        self.done = true;
        if let Some(error) = self.failed.take() {
            return Err(self.given_up(error));
        }
        // All of them rest. Where only an operator can mend one, that may have happened, and asking costs nothing.
        if let Some((way, ..)) = self.resting.iter().find(|(.., is_account)| *is_account).cloned() {
            self.done = false;
            return Ok(self.turn_to(way));
        }
        match self.soonest() {
            Some(rest) => Err(all_rest(rest)),
            None => Err(ProviderError::new("router", Fault::ModelMissing, "no provider is configured for this, or none has this model")),
        }
    }

    fn turn_to(&mut self, way: Way) -> T {
        let begin = T::begin(way.provider.name(), way.target.model.clone());
        self.current = Some(Current { way, open: None, may_cost: false });
        begin
    }

    async fn step(&mut self) -> Result<T, ProviderError> {
        let router = self.router.clone();
        let Some(Current { way, open, may_cost }) = &mut self.current else {
            return Err(ProviderError::new("router", Fault::BrokeOff, "nobody is asked"));
        };
        let name = way.provider.name();
        if open.is_none() {
            let patience = (Instant::now() + router.patience.first).min(self.deadline);
            let turn = timeout_at(patience, router.turns.take(name)).await;
            // Its limit is ours, so its breaker must not hear of it.
            let turn = turn.map_err(|_| ProviderError::new(name, Fault::NoRoom, "it has as many requests of ours as it may have at once"))?;
            if let Some(places) = &router.places
                && !places.take(name).await
            {
                return Err(ProviderError::new(name, Fault::NoRoom, "as many jobs use it as may at once"));
            }
            *open = Some((turn, (self.open)(&way.target, way.provider.clone())));
        }
        let Some((_, steps)) = open else { return Err(ProviderError::new(name, Fault::BrokeOff, "it is not asked")) };
        let step = match timeout_at(self.deadline, steps.next()).await {
            Ok(Some(step)) => step,
            Ok(None) => Err(ProviderError::new(name, Fault::BrokeOff, "it breaks off without a word")),
            Err(_) => {
                let late = ProviderError::new(name, Fault::TimedOut, "the time for all of it is over");
                Err(if *may_cost { late.may_be_billed() } else { late })
            }
        };
        match &step {
            Ok(step) if step.is_end() => router.breakers.succeeded(&way.target),
            Ok(step) => *may_cost |= step.may_cost(),
            Err(error) => router.breakers.failed(&way.target, error),
        }
        // When the time for all of it is over, another attempt would take as long again.
        let is_late = Instant::now() >= self.deadline;
        step.map_err(|error| ProviderError {
            detail: format!("{}: {}", way.target.model, error.detail),
            retry: if is_late { Some(false) } else { error.retry },
            ..error
        })
    }

    /// Gives the error back where there is nobody to turn to.
    fn turn_to_another(&mut self, error: ProviderError) -> Result<(), ProviderError> {
        self.current = None;
        if !error.is_worth_another() || Instant::now() >= self.deadline {
            return Err(error);
        }
        match self.targets.iter().find(|way| !matches!(self.router.breakers.peek(&way.target), Admission::Resting { .. })) {
            Some(next) => {
                log::warn!("{error}; {} is asked instead", next.target);
                self.failed = Some(self.most_hopeful(error));
                Ok(())
            }
            None => {
                let rests = |way: &Way| match self.router.breakers.peek(&way.target) {
                    Admission::Resting { rest, is_account } => Some((way.clone(), rest, is_account)),
                    Admission::Granted => None,
                };
                self.resting.extend(self.targets.iter().filter_map(rests));
                let error = self.most_hopeful(error);
                Err(self.given_up(error))
            }
        }
    }

    /// Of this error and the one before it the one that time heals: whoever is first then may be asked again.
    fn most_hopeful(&mut self, error: ProviderError) -> ProviderError {
        match self.failed.take() {
            Some(before) if before.is_retryable() && !error.is_retryable() => {
                log::warn!("{error}; another one may be asked again");
                before
            }
            _ => error,
        }
    }

    /// What is told where the last that could be asked has failed: where another may be asked soon, that it is worth waiting.
    fn given_up(&self, error: ProviderError) -> ProviderError {
        match self.soonest() {
            Some(rest) if !error.is_retryable() => {
                log::warn!("{error}; another one may be asked later");
                all_rest(rest)
            }
            _ => error,
        }
    }

    /// When the first of those that rest, and that time mends, may be asked.
    fn soonest(&self) -> Option<Duration> {
        self.resting.iter().filter(|(.., is_account)| !is_account).map(|(_, rest, _)| *rest).min()
    }
}

fn all_rest(rest: Duration) -> ProviderError {
    let error = ProviderError::new("router", Fault::Overloaded, format!("every provider is left alone for {} ms more", rest.as_millis()));
    ProviderError { retry_after: Some(rest), ..error }
}

impl Provider for Router {
    fn name(&self) -> &'static str {
        "router"
    }

    fn for_job(&self, places: Arc<dyn Places>) -> Option<Arc<dyn Provider>> {
        Some(Arc::new(Self { places: Some(places), ..self.clone() }))
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        let list = match request.purpose {
            _ if !request.route.is_empty() => &request.route,
            Purpose::Chat => &self.routes.chat,
            Purpose::Text => &self.routes.text,
        };
        let targets = self.targets(list, request.model.as_deref());
        self.route(targets, move |target, provider| provider.text(TextRequest { model: Some(target.model.clone()), ..request.clone() }))
    }

    fn image(self: Arc<Self>, request: ImageRequest) -> Steps<ImageStep> {
        let list = if request.route.is_empty() { &self.routes.image } else { &request.route };
        let targets = self.targets(list, request.model.as_deref());
        self.route(targets, move |target, provider| provider.image(ImageRequest { model: Some(target.model.clone()), ..request.clone() }))
    }
}
