//! Somebody who uses the server: with an identity, over REST and streams.

use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{answer::Answer, app::App, eventually, sse::Stream};

/// A guest of the server.
pub struct Person {
    pub client: Client,
    pub url: String,
    pub id: String,
    pub name: String,
    pub token: String,
}

/// How a stream leaves the server: both must keep the same promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through a socket of its own.
    Socket,
    /// Through the body of a response that the HTTP layer writes.
    Body,
}

impl Way {
    /// The header by which a bare request for a stream leaves in this way.
    pub fn header(self) -> &'static str {
        match self {
            Self::Socket => "",
            Self::Body => "HTTP2-Settings: AAMAAABk\r\n",
        }
    }
}

/// Makes tests of functions that take a [`Way`], one for each way.
macro_rules! on_each_way {
    ($($name:ident,)*) => {
        mod socket {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::person::Way::Socket).await;
            })*
        }
        mod body {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::person::Way::Body).await;
            })*
        }
    };
}
pub(crate) use on_each_way;

/// The room most tests use.
pub const GENERAL: &str = "channel:general";

impl Person {
    /// A new guest, over HTTP/1.1.
    pub async fn new(app: &App, name: &str) -> Self {
        // No pool: a connection of the server's former life is none to send a request on.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self::with_client(app, name, client).await
    }

    /// A new guest whose streams leave the server in this way.
    pub async fn on(app: &App, name: &str, way: Way) -> Self {
        let mut client = Client::builder().pool_max_idle_per_host(0);
        if way == Way::Body {
            // Whoever would rather have another protocol is left to the HTTP layer.
            client =
                client.default_headers([(HeaderName::from_static("http2-settings"), HeaderValue::from_static("AAMAAABk"))].into_iter().collect());
        }
        let person = Self::with_client(app, name, client.build().unwrap()).await;
        // Where few streams may be, the one before may not be gone yet.
        let response = eventually("there is a place for a stream", async || {
            let response = person.stream_request(&[], None).send().await.unwrap();
            (response.status() == StatusCode::OK).then_some(response)
        })
        .await;
        assert_eq!(response.headers().contains_key("connection"), way == Way::Socket);
        person
    }

    /// A new guest who uses this client.
    pub async fn with_client(app: &App, name: &str, client: Client) -> Self {
        let answer = client.post(format!("{}/api/session", app.url)).json(&json!({"userName": name})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let session: Value = answer.json().await.unwrap();
        let text = |field: &str| session[field].as_str().unwrap().to_owned();
        Self { client, url: app.url.clone(), id: text("userId"), name: text("userName"), token: text("token") }
    }

    /// Whoever this token says.
    pub async fn with_token(app: &App, token: &str) -> Self {
        let (client, url) = (Client::new(), app.url.clone());
        let mut person = Self { client, url, id: String::new(), name: String::new(), token: token.to_owned() };
        let session = person.get("/api/session").await;
        (person.id, person.name) = (session["userId"].as_str().unwrap().to_owned(), session["userName"].as_str().unwrap().to_owned());
        person
    }

    /// A request in this person's name.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// What `GET path` answers; it must be 200.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "GET {path}");
        answer.json().await.unwrap()
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// Says something in a room, without a reply, and gives the message.
    pub async fn say(&self, channel: &str, content: &str) -> Value {
        let answer = self.post("/api/chat/messages", &json!({"channel": channel, "content": content, "reply": false})).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answer.json::<Value>().await.unwrap()["message"].clone()
    }

    /// Asks for something in a room, and gives the job that answers.
    pub async fn ask(&self, channel: &str, content: &str) -> String {
        let answer = self.post("/api/chat/messages", &json!({"channel": channel, "content": content})).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answer.json::<Value>().await.unwrap()["jobId"].as_str().unwrap().to_owned()
    }

    /// Asks for a picture or a text, and gives the job.
    pub async fn generate(&self, what: &str, body: &Value) -> String {
        let answer = self.post(&format!("/api/generate/{what}"), body).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answer.json::<Value>().await.unwrap()["jobId"].as_str().unwrap().to_owned()
    }

    /// Nothing was stored: no message in the room most tests use, and no job of this person.
    pub async fn has_stored_nothing(&self) {
        let history = self.get("/api/chat/messages?channel=channel:general").await;
        assert_eq!((&history["messages"], &history["streaming"]), (&json!([]), &json!([])));
        assert_eq!(self.get("/api/jobs").await, json!({"jobs": []}));
    }

    /// Asks to stop a job.
    pub async fn stop(&self, id: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, &format!("/api/jobs/{id}"))).await
    }

    /// Waits until a job is in this state, and gives it.
    pub async fn job_in(&self, id: &str, state: &str) -> Value {
        eventually(&format!("job {id} is {state}"), || async {
            let job = self.get(&format!("/api/jobs/{id}")).await;
            (job["state"] == state).then_some(job)
        })
        .await
    }

    /// Listens to rooms, from now on; the stream is ready when this returns.
    pub async fn listen(&self, channels: &[&str]) -> Stream {
        self.resume(channels, None).await
    }

    /// Listens to rooms from a cursor on; the stream is ready when this returns.
    pub async fn resume(&self, channels: &[&str], cursor: Option<&str>) -> Stream {
        let mut stream = Stream::open(self.stream_request(channels, cursor)).await;
        stream.ready().await;
        stream
    }

    /// The request for a stream.
    pub fn stream_request(&self, channels: &[&str], cursor: Option<&str>) -> RequestBuilder {
        let query: Vec<_> = channels.iter().map(|channel| ("channel", *channel)).collect();
        let request = self.request(Method::GET, "/api/events").query(&query);
        match cursor {
            Some(cursor) => request.header("Last-Event-ID", cursor),
            None => request,
        }
    }
}
