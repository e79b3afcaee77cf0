//! Pictures: in every form that providers give them, paid for once, and fetched from nowhere that is not everybody's.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use persona_community::providers::{Fault, models::Models, setup::ProviderConfig, wire::Patience};
use serde_json::{Value, json};

use crate::support::{
    calls::{Drawn, draw, openai, png},
    provider::{Answer, FakeProvider},
};

/// OpenAI's protocol, the model drawing as its settings say.
fn drawing(fake: &FakeProvider, settings: &Value) -> ProviderConfig {
    let models = Models::read(&json!({"openai/m-1": settings}).to_string()).unwrap();
    ProviderConfig { models, ..openai(fake, None) }
}

async fn drawn(answer: Answer, settings: &Value) -> Drawn {
    let fake = FakeProvider::start([answer]).await;
    draw(&drawing(&fake, settings).build().unwrap()).await
}

fn encoded() -> String {
    STANDARD.encode(png())
}

fn is_the_picture(drawn: &Drawn, what: &str) {
    let picture = drawn.picture.as_ref().unwrap_or_else(|| panic!("{what}: {drawn:?}"));
    assert_eq!((picture.bytes.as_ref(), picture.size.to_string().as_str()), (png().as_slice(), "5x4"), "{what}");
}

#[tokio::test]
async fn a_picture_is_found_in_whichever_form_it_comes() {
    let said = |message: Value| json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let url = format!("data:image/png;base64,{}", encoded());
    let (by_images, by_chat) = (json!({}), json!({"images": "chat"}));
    for (answer, settings) in [
        (json!({"created": 1, "data": [{"b64_json": encoded()}], "usage": {"total_tokens": 100}}), &by_images),
        (json!({"data": [{"b64_json": "", "url": url, "revised_prompt": "a cat"}]}), &by_images),
        (said(json!({"content": format!("Here: ![image]({url})")})), &by_chat),
        (said(json!({"content": url})), &by_chat),
        (said(json!({"content": format!("![a](data:image/png;base64,AAAA) ![b]({url})")})), &by_chat),
        (said(json!({"content": "", "images": [{"type": "image_url", "image_url": {"url": url}}]})), &by_chat),
        (said(json!({"content": [{"type": "text", "text": "Here"}, {"type": "image_url", "image_url": {"url": url}}]})), &by_chat),
    ] {
        is_the_picture(&drawn(Answer::json(200, &answer), settings).await, &answer.to_string());
        is_the_picture(&drawn(Answer::bytes(200, "application/json", format!("\n\n{answer}")).gzipped(), settings).await, "compressed");
    }
}

fn partial(index: usize, encoded: &str) -> String {
    let event = json!({"type": "image_generation.partial_image", "b64_json": encoded, "partial_image_index": index, "output_format": "png"});
    format!("event: image_generation.partial_image\ndata: {event}\n\n")
}

fn completed() -> String {
    let event = json!({"type": "image_generation.completed", "b64_json": encoded(), "usage": {"total_tokens": 100}});
    format!("event: image_generation.completed\ndata: {event}\n\n")
}

#[tokio::test]
async fn drafts_come_before_the_picture_wherever_their_bytes_are_split() {
    let drafts = json!({"partialImages": 2});
    let bytes = [partial(0, &encoded()), partial(1, &encoded()), completed()].concat().into_bytes();
    let split = (0..=bytes.len()).map(|at| Answer::stream([&bytes[..at], &bytes[at..]]));
    let fake = FakeProvider::start(split.chain([Answer::stream([&bytes]).byte_by_byte()])).await;
    let provider = drawing(&fake, &drafts).build().unwrap();
    for at in 0..=bytes.len() + 1 {
        let drawn = draw(&provider).await;
        is_the_picture(&drawn, &format!("split at {at}"));
        assert_eq!(drawn.previews, [(33, "Draft 1 of 2".to_owned()), (66, "Draft 2 of 2".to_owned())]);
    }
    // A draft that is none is passed over, an end without its line end is one, and the connection need not close.
    is_the_picture(&drawn(Answer::stream([partial(0, "####"), completed()]).then_silence(), &drafts).await, "a draft that is none");
    is_the_picture(&drawn(Answer::stream([completed().trim_end()]), &drafts).await, "without its line end");
    is_the_picture(&drawn(Answer::json(200, &json!({"data": [{"b64_json": encoded()}]})), &drafts).await, "all at once");
}

#[tokio::test]
async fn what_may_have_been_paid_for_is_asked_of_nobody_else_and_what_was_refused_is() {
    let drafts = json!({"partialImages": 2});
    let none = json!({});
    let large = {
        let mut bytes = png();
        bytes[16..20].copy_from_slice(&9000_u32.to_be_bytes());
        STANDARD.encode(bytes)
    };
    for (answer, settings, fault, billed) in [
        (Answer::hang_up(), &none, Fault::BrokeOff, true),
        (Answer::silence(), &none, Fault::TimedOut, true),
        (Answer::bytes(524, "text/html", "<html>"), &none, Fault::TimedOut, true),
        (Answer::bytes(200, "application/json", "{\"data\": [{\"b64_"), &none, Fault::Malformed, true),
        (Answer::json(200, &json!({"data": [{"b64_json": encoded()}]})).broken_off(), &none, Fault::BrokeOff, true),
        (Answer::json(200, &json!({"data": []})), &none, Fault::Malformed, true),
        (Answer::json(200, &json!({"data": [{"b64_json": STANDARD.encode("GIF89a, no")}]})), &none, Fault::Malformed, true),
        (Answer::json(200, &json!({"data": [{"b64_json": large}]})), &none, Fault::Malformed, true),
        (Answer::json(200, &json!({"data": [{"b64_json": encoded()}]})).header("content-encoding", "br"), &none, Fault::Malformed, true),
        (Answer::stream([partial(0, &encoded())]), &drafts, Fault::BrokeOff, true),
        (Answer::stream([partial(0, &encoded())]).broken_off(), &drafts, Fault::BrokeOff, true),
        (Answer::stream([partial(0, &encoded())]).then_silence(), &drafts, Fault::TimedOut, true),
        (Answer::bytes(502, "text/html", "<html>"), &none, Fault::Unreachable, false),
        (Answer::json(429, &json!({"error": {"message": "m", "code": "rate_limit_exceeded"}})), &none, Fault::Overloaded, false),
        (Answer::json(402, &json!({"error": {"message": "m"}})), &none, Fault::OutOfCredit, false),
        (Answer::json(200, &json!({"error": {"message": "m", "code": 503}})), &none, Fault::Overloaded, false),
        (
            Answer::stream([partial(0, &encoded()), "event: error\ndata: {\"message\":\"m\",\"code\":503}\n\n".into()]),
            &drafts,
            Fault::Overloaded,
            false,
        ),
        (Answer::stream(["{\"error\":{\"message\":\"m\",\"code\":503}}\n"]), &drafts, Fault::Overloaded, false),
    ] {
        let (first, second) = (
            FakeProvider::start([answer.clone()]).await,
            FakeProvider::start([Answer::json(200, &json!({"data": [{"b64_json": encoded()}]}))]).await,
        );
        let config = openai(&first, Some(&second));
        let patience = Patience { total: Duration::from_millis(if fault == Fault::TimedOut { 300 } else { 20_000 }), ..config.patience };
        let config = ProviderConfig { patience, models: drawing(&first, settings).models, ..config };
        let drawn = draw(&config.build().unwrap()).await;
        if billed {
            let error = drawn.error.unwrap_or_else(|| panic!("{answer:?} is a picture"));
            assert_eq!((error.fault, error.billed, error.is_retryable()), (fault, true, false), "{answer:?}: {error:?}");
        } else {
            is_the_picture(&drawn, "by the other one");
        }
        assert_eq!((first.asked().len(), second.asked().len()), (1, usize::from(!billed)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_model_that_will_not_draw_is_heard_and_nobody_else_is_asked() {
    let refusal = "Your request was rejected by the safety system. safety_violations=[violence].";
    let blocked = json!({"error": {"message": refusal, "type": "image_generation_user_error", "param": "", "code": "moderation_blocked"}});
    let said = json!({"choices": [{"message": {"content": "I can't draw that."}, "finish_reason": "stop"}]});
    for (answer, settings, words, billed) in [
        (Answer::json(400, &blocked), json!({}), None, false),
        (Answer::json(200, &said), json!({"images": "chat"}), Some("I can't draw that."), true),
    ] {
        let (first, second) = (FakeProvider::start([answer]).await, FakeProvider::start([Answer::hang_up()]).await);
        let config = ProviderConfig { models: drawing(&first, &settings).models, ..openai(&first, Some(&second)) };
        let error = draw(&config.build().unwrap()).await.error.unwrap();
        assert_eq!((error.fault, error.words.as_deref(), error.billed), (Fault::Blocked, words, billed), "{error:?}");
        assert_eq!(second.asked().len(), 0);
        let told = error.failure().error;
        assert!(words.is_none_or(|words| told.contains(words)) && !told.contains("safety_violations"), "{told}");
    }
}

/// What becomes of a picture at this URL.
async fn fetched(url: &str, may_be_local: bool) -> Drawn {
    let fake = FakeProvider::start([Answer::json(200, &json!({"data": [{"url": url}]}))]).await;
    draw(&ProviderConfig { may_be_local, ..openai(&fake, None) }.build().unwrap()).await
}

#[tokio::test]
async fn no_url_leads_to_a_private_address_or_out_of_https() {
    let inside = FakeProvider::start([Answer::bytes(200, "image/png", png())]).await;
    let port = inside.address.port();
    for url in [
        format!("http://127.0.0.1:{port}/x.png"),
        format!("https://127.0.0.1:{port}/x.png"),
        format!("https://localhost:{port}/x.png"),
        format!("https://2130706433:{port}/x.png"),
        format!("https://0x7f.1:{port}/x.png"),
        format!("https://[::1]:{port}/x.png"),
        format!("https://[::ffff:127.0.0.1]:{port}/x.png"),
        format!("https://0.0.0.0:{port}/x.png"),
        format!("https://user:password@127.0.0.1:{port}/x.png"),
        "https://169.254.169.254/latest/meta-data/".into(),
        "https://10.0.0.1/x.png".into(),
        "http://93.184.216.34/x.png".into(),
        "ftp://93.184.216.34/x.png".into(),
        "file:///etc/passwd".into(),
        "x.png".into(),
        "data:image/png,plain".into(),
    ] {
        let error = fetched(&url, false).await.error.unwrap_or_else(|| panic!("{url} was fetched"));
        assert_eq!((error.fault, error.billed), (Fault::Malformed, true), "{url}: {error:?}");
    }
    assert_eq!((inside.asked().len(), inside.busy().most), (0, 0));
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_only_to_where_a_picture_may_be() {
    let picture = FakeProvider::start([Answer::bytes(200, "image/png", png())]).await;
    let to = |location: &str| Answer::bytes(302, "text/plain", "").header("location", location);
    let there = format!("http://{}/there.png", picture.address);
    for (hops, found) in [
        (vec![to(&there)], true),
        (vec![to("/b"), to("c"), to(&there)], true),
        (vec![to("/again")], false),
        (vec![to("file:///etc/passwd")], false),
        (vec![to("ftp://127.0.0.1/x.png")], false),
        (vec![to("//")], false),
        (vec![Answer::bytes(404, "text/html", "<html>")], false),
        (vec![Answer::bytes(200, "text/html", "<html>")], false),
    ] {
        let fake = FakeProvider::start(hops.clone()).await;
        let drawn = fetched(&format!("http://{}/a", fake.address), true).await;
        assert_eq!(drawn.picture.is_some(), found, "{hops:?}: {drawn:?}");
        assert!(fake.asked().len() <= 4, "{hops:?}");
        // What opens the provider's door is not for whoever it names.
        assert!(fake.asked().iter().all(|asked| !asked.head.to_lowercase().contains("authorization")));
    }
    // Even where pictures may be local, what is fetched is bounded.
    let endless = vec![vec![0; 1024 * 1024]; 80];
    let fake = FakeProvider::start([Answer::stream(endless).then_silence()]).await;
    let error = fetched(&format!("http://{}/a.png", fake.address), true).await.error.unwrap();
    assert!(error.detail.contains("more than"), "{error:?}");
}
