//! Talking HTTP to providers: one client, what their refusals mean, and their streams with every wait bounded.
//!
//! Refuses to retry: whether another attempt or another provider makes sense is the router's to say.

pub mod answer;
pub mod event_stream;
mod events;
pub mod pause;
pub mod refusal;
pub mod thoughts;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use reqwest::{
    Client, RequestBuilder, Response,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

pub use self::events::Events;
use super::{Fault, ImageStep, Key, ProviderError, Steps, TextStep};

/// How long anything of a provider may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// Until the first piece that says something.
    pub first: Duration,
    /// Between two pieces; a comment is one.
    pub between: Duration,
    /// For all of it.
    pub total: Duration,
}

/// The largest answer that is no stream: pictures come inside of one.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// How much of a refusal is read, and for how long.
const MAX_REFUSAL: usize = 64 * 1024;
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// A client for all providers.
///
/// # Errors
/// Where the system has no certificates to trust.
pub fn client(patience: Patience) -> reqwest::Result<Client> {
    // Where one is installed already, it is this one.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(patience.connect)
        // A provider that redirects is not the one that was configured.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("persona-community/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Calls one provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    pub name: &'static str,
    pub key: Key,
    pub client: Client,
    pub patience: Patience,
}

/// A good answer, of which the body is still to come.
#[derive(Debug)]
pub struct Reply {
    response: Response,
    request_id: Option<String>,
}

impl Caller {
    /// A request with a JSON body. A compressing proxy would hold events back, so nothing is to be compressed; where it is by
    /// gzip all the same, it is read.
    pub fn post(&self, url: String, body: &Value) -> RequestBuilder {
        self.client.post(url).header(header::ACCEPT_ENCODING, "identity").json(body)
    }

    /// The key, as a header that no log shows; nothing where there is none.
    #[must_use]
    pub fn secret(&self, before: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{before}{}", self.key.expose())).ok()?;
        value.set_sensitive(true);
        (!self.key.is_empty()).then_some(value)
    }

    /// Sends a request and gives its answer, if that is a good one.
    ///
    /// # Errors
    /// [`ProviderError`], with what the provider says is wrong.
    pub async fn send(&self, request: RequestBuilder, deadline: Instant) -> Result<Reply, ProviderError> {
        let response = timeout_at(deadline, request.send()).await.map_err(|_| self.timed_out("it does not answer"))?;
        let response = response.map_err(|error| self.broken(error))?;
        let mut reply = Reply { request_id: request_id(response.headers()), response };
        let (status, headers) = (reply.response.status(), reply.response.headers().clone());
        if status.is_success() {
            return match headers.get(header::CONTENT_ENCODING).filter(|encoding| encoding.as_bytes() != b"identity") {
                None => Ok(reply),
                Some(encoding) => Err(self.error(Fault::Malformed, &format!("it compresses its answer ({encoding:?}) though asked not to"))),
            };
        }
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(piece)) = reply.piece(self).await {
                body.extend_from_slice(&piece);
                if body.len() > MAX_REFUSAL {
                    break;
                }
            }
        };
        // What is there of it must do.
        let _ = timeout_at(deadline.min(Instant::now() + REFUSED_WITHIN), read).await;
        let error = refusal::of_answer(self.name, status.as_u16(), &headers, &body);
        Err(self.redacted(error).of_request(reply.request_id()))
    }

    /// Gets what is no provider's answer; a redirect is one as well.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn get(&self, request: RequestBuilder, deadline: Instant) -> Result<Reply, ProviderError> {
        let response = timeout_at(deadline, request.send()).await.map_err(|_| self.timed_out("its picture does not come"))?;
        let response = response.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(Reply { response, request_id: None });
        }
        Err(self.error(refusal::fault_of_status(status.as_u16()), &format!("fetching its picture failed: {status}")))
    }

    /// All of an answer that is no stream.
    ///
    /// # Errors
    /// Where it breaks off, takes too long or is too large.
    pub async fn read(&self, mut reply: Reply, deadline: Instant) -> Result<Vec<u8>, ProviderError> {
        let mut body = Vec::new();
        loop {
            let piece = timeout_at(deadline, reply.piece(self)).await.map_err(|_| self.timed_out("its answer takes too long"))?;
            let Some(piece) = piece? else { return Ok(body) };
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(self.error(Fault::Malformed, &format!("its answer has more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&piece);
        }
    }

    /// The same as JSON; some begin with blank lines to keep the connection open. An error inside of it is one.
    ///
    /// # Errors
    /// As [`Self::read`], and with what the provider says is wrong.
    pub async fn read_json(&self, reply: Reply, deadline: Instant) -> Result<Value, ProviderError> {
        let request_id = reply.request_id().map(str::to_owned);
        let body = self.read(reply, deadline).await?;
        let json = serde_json::from_str(String::from_utf8_lossy(&body).trim());
        let json: Value = json.map_err(|_| self.error(Fault::Malformed, "its answer is no JSON").of_request(request_id.as_deref()))?;
        match refusal::Told::find(&json) {
            Some(told) => Err(self.redacted(told.means(self.name, 200)).of_request(request_id.as_deref())),
            None => Ok(json),
        }
    }

    /// A fault of this provider, with what its operator should know.
    #[must_use]
    pub fn error(&self, fault: Fault, detail: &str) -> ProviderError {
        ProviderError::new(self.name, fault, self.key.redact(detail))
    }

    /// The same error, surely without the key.
    #[must_use]
    pub fn redacted(&self, mut error: ProviderError) -> ProviderError {
        error.detail = self.key.redact(&error.detail);
        error.words = error.words.map(|words| self.key.redact(&words).into());
        error.request_id = error.request_id.map(|id| self.key.redact(&id));
        error
    }

    /// The steps of a text that has begun, no error of them showing the key.
    pub fn text(self, begun: impl Future<Output = Result<Steps<TextStep>, ProviderError>> + 'static) -> Steps<TextStep> {
        stream::once(begun).try_flatten().map_err(move |error| self.redacted(error)).boxed_local()
    }

    /// The steps of a picture, no error of them showing the key. The provider is asked for nothing before that is known to be
    /// noted.
    pub fn image(self, drawn: impl Stream<Item = Result<ImageStep, ProviderError>> + 'static) -> Steps<ImageStep> {
        let asked = stream::once(async { Ok(ImageStep::Asked) });
        asked.chain(drawn).map_err(move |error| self.redacted(error)).boxed_local()
    }

    /// It took too long.
    #[must_use]
    pub fn timed_out(&self, what: &str) -> ProviderError {
        ProviderError::new(self.name, Fault::TimedOut, what)
    }

    /// An error of the connection. The URL is left out: some providers take their key in it.
    fn broken(&self, error: reqwest::Error) -> ProviderError {
        let fault = match &error {
            // Nothing was sent yet.
            error if error.is_connect() || error.is_builder() => Fault::Unreachable,
            error if error.is_timeout() => Fault::TimedOut,
            // It has hung up on the request, or in its answer: what was asked for may have been done.
            _ => Fault::BrokeOff,
        };
        let error = error.without_url();
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source()).map(|cause| format!(": {cause}"));
        self.error(fault, &format!("{error}{}", causes.collect::<String>()))
    }
}

impl Reply {
    /// Whether the answer is one JSON value, no stream.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
    }

    /// Where it says that the answer is, if that is somewhere else.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        let location = self.response.headers().get(header::LOCATION).filter(|_| self.response.status().is_redirection());
        location.map(|location| location.to_str().unwrap_or_default())
    }

    /// What the provider calls this request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    async fn piece(&mut self, caller: &Caller) -> Result<Option<Bytes>, ProviderError> {
        self.response.chunk().await.map_err(|error| caller.broken(error).of_request(self.request_id.as_deref()))
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    const NAMES: [HeaderName; 3] =
        [HeaderName::from_static("x-request-id"), HeaderName::from_static("x-generation-id"), HeaderName::from_static("cf-ray")];
    NAMES.iter().find_map(|name| headers.get(name)?.to_str().ok().map(str::to_owned))
}
