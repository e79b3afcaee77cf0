//! What the server answers, whatever client has asked, and what every refusal must look like.

use http::HeaderMap;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::DEADLINE;

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// What this request is answered.
    pub async fn to(request: RequestBuilder) -> Self {
        let answered = async { Self::of(request.send().await.unwrap()).await };
        timeout(DEADLINE, answered).await.expect("no answer came")
    }

    /// The answer that a client has.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header's text; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// It must be this refusal, complete in all its parts (RFC 9457).
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str, field: Option<&str>) -> Value {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["code"], problem["field"].as_str()), (&code.into(), field), "{problem}");
        assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &status.into()));
        let names: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = ["code", "detail", "field", "requestId", "status", "title", "type"];
        assert!(names.into_iter().eq(expected.into_iter().filter(|name| *name != "field" || field.is_some())), "{problem}");
        assert!(["title", "detail"].iter().all(|name| !problem[name].as_str().unwrap().is_empty()), "{problem}");
        assert_eq!((problem["requestId"].as_str(), self.header("x-content-type-options")), (Some(self.header("x-request-id")), "nosniff"));
        assert_eq!(self.header("cache-control"), "no-store");
        problem
    }
}

/// The request must be refused so.
pub async fn refused(request: RequestBuilder, status: u16, code: &str, field: Option<&str>) -> Value {
    Answer::to(request).await.is_problem(status, code, field)
}
