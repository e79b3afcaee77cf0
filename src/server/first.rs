//! What the first bytes of a plain connection ask for, told without taking any of them.
//!
//! Pure. Refuses to answer anything: whatever is not surely the one request that it looks for, well-formed, complete and
//! with nothing behind it, is left to the HTTP layer.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::api::events::PATH;

/// A longer head is left to the HTTP layer.
pub const MAX_HEAD: usize = 8 * 1024;
/// As many headers as the HTTP layer takes.
const MAX_HEADERS: usize = 96;
/// With prior knowledge (RFC 9113, section 3.3).
const HTTP2: &[u8] = b"PRI * HTTP/2";
const GET: &[u8] = b"GET ";
/// Those of which a request is not only its head, or wants something else of its connection.
const UNFIT: [&str; 5] = ["content-length", "transfer-encoding", "upgrade", "expect", "http2-settings"];

/// What a connection begins with.
#[derive(Debug)]
pub enum First {
    /// Too little to tell.
    Unclear,
    Http2,
    Http1,
    Stream(Asked),
}

/// A whole request for a stream of events.
#[derive(Debug)]
pub struct Asked {
    pub headers: HeaderMap,
    pub query: String,
    /// How many bytes it has.
    pub length: usize,
}

/// Tells what `bytes`, the first of a connection, ask for.
#[must_use]
pub fn look(bytes: &[u8]) -> First {
    let begins = |other: &[u8]| bytes.iter().zip(other).all(|(byte, other)| byte == other);
    if begins(HTTP2) {
        return if bytes.len() < HTTP2.len() { First::Unclear } else { First::Http2 };
    }
    let path = bytes.get(GET.len()..).unwrap_or_default();
    if bytes.len() > MAX_HEAD || !begins(GET) || !path.iter().zip(PATH.as_bytes()).all(|(byte, other)| byte == other) {
        return First::Http1;
    }
    match path.get(PATH.len()) {
        None => return First::Unclear,
        Some(b'?' | b' ') => {}
        Some(_) => return First::Http1,
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => First::Unclear,
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => asked(&request, length).map_or(First::Http1, First::Stream),
        _ => First::Http1,
    }
}

/// The request, where it is one that its head is all of.
fn asked(request: &httparse::Request<'_, '_>, length: usize) -> Option<Asked> {
    if request.version != Some(1) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for header in request.headers.iter() {
        if UNFIT.iter().any(|unfit| header.name.eq_ignore_ascii_case(unfit)) {
            return None;
        }
        headers.append(HeaderName::from_bytes(header.name.as_bytes()).ok()?, HeaderValue::from_bytes(header.value).ok()?);
    }
    let query = request.path?.split_once('?').map_or("", |(_, query)| query);
    // A fragment is no part of a request.
    (!query.contains('#')).then(|| Asked { headers, query: query.to_owned(), length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &str =
        "GET /api/events?channel=channel:general HTTP/1.1\r\nHost: persona\r\nAuthorization: Bearer abc\r\nlast-event-id: x\r\n\r\n";

    fn kind(bytes: &[u8]) -> &'static str {
        match look(bytes) {
            First::Unclear => "unclear",
            First::Http2 => "http2",
            First::Http1 => "http1",
            First::Stream(_) => "stream",
        }
    }

    #[test]
    fn a_whole_request_for_a_stream_is_read() {
        let First::Stream(asked) = look(REQUEST.as_bytes()) else { panic!() };
        assert_eq!((asked.query.as_str(), asked.length), ("channel=channel:general", REQUEST.len()));
        assert_eq!((&asked.headers.get("authorization").unwrap().as_bytes(), asked.headers.len()), (&&b"Bearer abc"[..], 3));
        assert_eq!(kind(b"GET /api/events HTTP/1.1\r\n\r\n"), "stream");
    }

    #[test]
    fn everything_else_is_left_to_the_http_layer() {
        for (other, what) in [
            (REQUEST.replace("1.1", "1.0"), "http1"),
            (REQUEST.replace("GET", "POST"), "http1"),
            (REQUEST.replace("events", "eventsx"), "http1"),
            (REQUEST.replace("/api", "/Api"), "http1"),
            (REQUEST.replace("Host", "Content-Length: 0\r\nHost"), "http1"),
            (REQUEST.replace("Host", "Upgrade: h2c\r\nHost"), "http1"),
            (REQUEST.replace("Host", "Ho st"), "http1"),
            (REQUEST.replace("abc", &"a".repeat(MAX_HEAD)), "http1"),
            (format!("{REQUEST}GET / HTTP/1.1\r\n\r\n"), "http1"),
            (REQUEST.replace("\r\n\r\n", &"\r\nA: b".repeat(100)) + "\r\n\r\n", "http1"),
            ("\r\n".to_owned() + REQUEST, "http1"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "http2"),
            ("PRI * HTTP/1".to_owned(), "http1"),
            ("GET /api/session HTTP/1.1\r\n".to_owned(), "http1"),
        ] {
            assert_eq!(kind(other.as_bytes()), what, "{other}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics_and_less_is_never_clearer(bytes in any::<Vec<u8>>(), cut in 0..REQUEST.len()) {
            let _ = look(&bytes);
            let _ = look(&[&REQUEST.as_bytes()[..cut], &bytes].concat());
            prop_assert_eq!(kind(&REQUEST.as_bytes()[..cut]), "unclear");
        }
    }
}
