//! One HTTP/2 connection and no more: what goes through it shares it, as there is no other.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use h2::{RecvStream, client::SendRequest};
use http::{Method, Request, Response, Version};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::{DEADLINE, answer::Answer, app::App, person::Person, raw::Transport, sse::Stream};

/// A connection.
pub struct Http2 {
    sender: SendRequest<Bytes>,
    url: String,
}

impl Http2 {
    /// One with prior knowledge, not encrypted.
    pub async fn connect(app: &App) -> Self {
        Self::over(TcpStream::connect(app.address).await.unwrap(), &app.url).await
    }

    /// One over this transport, to the server at `url`.
    pub async fn over(transport: impl Transport + 'static, url: &str) -> Self {
        let (sender, connection) = h2::client::handshake(transport).await.unwrap();
        // Its end is seen by those who use it.
        tokio::spawn(connection);
        Self { sender, url: url.to_owned() }
    }

    /// A request in a person's name.
    pub fn request(&self, person: &Person, method: Method, path: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        request.version(Version::HTTP_2).header("authorization", format!("Bearer {}", person.token)).body(()).unwrap()
    }

    /// The head of what this request is answered; its body, if any, is still to be read.
    pub async fn send(&self, mut request: Request<()>, body: Option<&Value>) -> Response<RecvStream> {
        let sent = async {
            if body.is_some() {
                request.headers_mut().insert("content-type", "application/json".parse().unwrap());
            }
            let mut sender = self.sender.clone().ready().await.unwrap();
            let (response, mut sending) = sender.send_request(request, body.is_none()).unwrap();
            if let Some(body) = body {
                sending.send_data(body.to_string().into(), true).unwrap();
            }
            response.await.unwrap()
        };
        timeout(DEADLINE, sent).await.expect("no answer came")
    }

    /// What this request is answered.
    pub async fn answer(&self, request: Request<()>, body: Option<&Value>) -> Answer {
        let (head, mut received) = self.send(request, body).await.into_parts();
        let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, body: Vec::new() };
        let read = async {
            while let Some(piece) = received.data().await {
                let piece = piece.unwrap();
                received.flow_control().release_capacity(piece.len()).unwrap();
                answer.body.extend(piece);
            }
        };
        timeout(DEADLINE, read).await.expect("the answer has no end");
        answer
    }

    /// The stream of a person; it is ready when this returns.
    pub async fn listen(&self, person: &Person, channel: &str) -> Stream {
        let response = self.send(self.request(person, Method::GET, &format!("/api/events?channel={channel}")), None).await;
        assert_eq!(response.status().as_u16(), 200);
        let pieces = stream::unfold(response.into_body(), |mut received| async {
            let piece = received.data().await?.ok()?;
            received.flow_control().release_capacity(piece.len()).ok()?;
            Some((piece, received))
        });
        let mut stream = Stream::of_pieces(pieces.boxed());
        stream.ready().await;
        stream
    }
}
