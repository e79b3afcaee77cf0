//! Pictures: told by URL, never by their bytes, and served so that caches may keep them.

use std::io::Cursor;

use reqwest::{Client, Method};
use serde_json::json;

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::Person,
};

#[tokio::test]
async fn a_picture_is_told_by_its_url_and_has_the_size_that_was_asked_for() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    for (size, width, height) in [(Some("64x64"), 64, 64), (Some("320x200"), 320, 200), (None, 1024, 1024)] {
        let job = ada.generate("image", &json!({"prompt": "A cat \u{1f408}", "size": size})).await;
        assert_eq!(stream.next_of("generation_started").await.data["jobId"], json!(job));
        let end = loop {
            let event = stream.next_logged().await;
            assert!(event.data.to_string().len() < 2000, "bytes in an event: {event:?}");
            if event.kind() == "generation_complete" {
                break event.data;
            }
        };
        let result = &end["result"];
        assert_eq!((&end["jobId"], &end["progress"], &result["prompt"]), (&json!(job), &json!(100), &json!("A cat \u{1f408}")));
        assert!(result["provider"].is_string() && result["model"].is_string());
        let [image] = result["images"].as_array().unwrap().as_slice() else { panic!("{end}") };
        assert_eq!((&image["width"], &image["height"], &image["contentType"]), (&json!(width), &json!(height), &json!("image/png")));
        assert_eq!(ada.job_in(&job, "completed").await["result"], *result);

        // Nobody needs an identity for what nobody can guess.
        let url = format!("{}{}", app.url, image["url"].as_str().unwrap());
        let picture = Answer::to(Client::new().get(&url)).await;
        assert_eq!(
            (picture.status, picture.header("content-type"), picture.body.len()),
            (200, "image/png", image["bytes"].as_u64().unwrap() as usize)
        );
        let png = png::Decoder::new(Cursor::new(&picture.body)).read_info().unwrap();
        assert_eq!((png.info().width, png.info().height), (width, height));
    }
}

#[tokio::test]
async fn a_picture_may_be_cached_for_ever_and_is_nothing_but_a_picture() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("image", &json!({"prompt": "A cat", "size": "64x64"})).await;
    let job = ada.job_in(&job, "completed").await;
    let path = job["result"]["images"][0]["url"].as_str().unwrap();
    let name = path.strip_prefix("/media/").unwrap();
    let stem = name.strip_suffix(".png").unwrap();
    assert!(stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let get = Answer::to(ada.request(Method::GET, path)).await;
    assert_eq!((get.header("cache-control"), get.header("x-content-type-options")), ("public, max-age=31536000, immutable", "nosniff"));
    assert_eq!((get.header("content-security-policy"), get.header("x-request-id").len()), ("default-src 'none'; sandbox", 36));
    let mut reader = png::Decoder::new(Cursor::new(&get.body)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();

    let head = Answer::to(ada.request(Method::HEAD, path)).await;
    assert_eq!((head.status, head.header("content-type"), head.header("content-length")), (200, "image/png", get.body.len().to_string().as_str()));
    assert_eq!(head.body, b"");
    for wrong in [path.replace(".png", ".jpg"), path.replace(".png", ""), path.replace(".png", ".png.part"), path.to_uppercase(), format!("{path}/")]
    {
        refused(ada.request(Method::GET, &wrong), 404, "not_found", None).await;
    }
}

#[tokio::test]
async fn a_picture_outlives_the_server() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("image", &json!({"prompt": "A cat", "size": "64x64"})).await;
    let path = ada.job_in(&job, "completed").await["result"]["images"][0]["url"].as_str().unwrap().to_owned();
    let before = Answer::to(ada.request(Method::GET, &path)).await.body;
    let app = app.restart();
    assert_eq!(Answer::to(Client::new().get(format!("{}{path}", app.url))).await.body, before);
}
