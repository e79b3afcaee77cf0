//! The page, as a newcomer meets it: in a real browser, with a mouse and a keyboard.

use std::path::Path;

use crate::support::{
    app::App,
    browser::{Browser, Page},
};

/// The newest message of the room, where its reply is complete.
const REPLY: &str = "document.querySelector('#messages li:last-child.reply.sent .text')?.innerText";

/// Comes in under a name; the stream is live when this returns.
pub fn join<'a>(browser: &'a Browser, app: &App, name: &str) -> Page<'a> {
    let page = browser.open(&app.url);
    page.write("#name", name);
    page.enter();
    page.wait_for("document.querySelector('#link').dataset.link === 'live'");
    page
}

/// Says something in the room on screen.
pub fn say(page: &Page, text: &str) {
    page.write("#draft", text);
    page.enter();
}

/// All messages as the page shows them.
fn texts(page: &Page) -> Vec<String> {
    let texts = page.evaluate("[...document.querySelectorAll('#messages .text')].map(text => text.innerText)");
    serde_json::from_value(texts).unwrap()
}

#[test]
fn two_people_meet_and_both_see_a_message_and_its_reply_as_it_is_written() {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "100")]);
    let browser = Browser::start();
    let (ada, ben) = (join(&browser, &app, "Ada"), join(&browser, &app, "Ben"));
    for page in [&ada, &ben] {
        page.wait_for("document.querySelector('#here').innerText === '2 here'");
        page.watch("document.querySelector('#messages li.reply.streaming .text p')?.innerText");
    }

    ada.write("#draft", "What can you do for **us**? <img src=x onerror=alert(1)>");
    ben.wait_for("document.querySelector('#typing').innerText === 'Ada is typing…'");
    ada.enter();
    for page in [&ada, &ben] {
        let beginning = page.seen();
        let whole = page.wait_for(REPLY);
        assert!(beginning.as_str().unwrap().len() < whole.as_str().unwrap().len(), "{beginning} is all of {whole}");
    }
    let shown = texts(&ada);
    assert_eq!(shown[0], "What can you do for us? <img src=x onerror=alert(1)>");
    assert_eq!(ada.evaluate("document.querySelectorAll('#messages img').length"), 0);
    assert_eq!(ada.text("#messages li:first-child .text strong"), "us");
    assert_eq!(shown.len(), 2);
    assert_eq!(texts(&ben), shown);

    ben.go(&app.url);
    ben.wait_for(REPLY);
    assert_eq!(texts(&ben), shown);
    assert_eq!((ada.errors(), ben.errors()), (vec![], vec![]));
}

#[test]
fn a_picture_and_a_text_are_made_with_progress_and_shown() {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "20")]);
    let browser = Browser::start();
    let ada = join(&browser, &app, "Ada");

    ada.write("#prompt", "A lighthouse in the first light of the day");
    ada.click("#ask .primary");
    ada.wait_for("document.querySelector('#made .job[data-state=completed] img')?.naturalWidth > 0");
    let sizes = ada.evaluate("(image => [image.naturalWidth, image.naturalHeight])(document.querySelector('#made img'))");
    assert_eq!(sizes, serde_json::json!([768, 768]));
    assert_eq!(ada.text("#made .prompt"), "A lighthouse in the first light of the day");

    ada.click("#ask [name=kind][value=text]");
    ada.write("#prompt", "A short welcome for a new member");
    ada.watch("document.querySelector('#made .job.streaming .text')?.innerText");
    ada.click("#ask .primary");
    ada.seen();
    ada.wait_for("document.querySelector('#made .job:first-child').dataset.state === 'completed'");
    let written = ada.text("#made .job:first-child .text");

    ada.go(&app.url);
    ada.wait_for("document.querySelectorAll('#made .job[data-state=completed]').length === 2");
    assert_eq!(ada.text("#made .job:first-child .text"), written);
    assert_eq!(ada.errors(), Vec::<String>::new());
}

#[test]
fn a_reply_that_its_asker_stops_is_stopped_for_everybody_and_keeps_its_beginning() {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "100")]);
    let browser = Browser::start();
    let (ada, ben) = (join(&browser, &app, "Ada"), join(&browser, &app, "Ben"));
    say(&ada, &"Tell me a very long story. ".repeat(20));
    ben.wait_for("document.querySelector('#messages .reply .text p')?.innerText");
    assert_eq!(ben.evaluate("document.querySelectorAll('#messages .stop').length"), 0);
    ada.click("#messages .stop");
    for page in [&ada, &ben] {
        page.wait_for("document.querySelector('#messages .reply.sent .note')?.innerText === 'Stopped'");
        assert!(!page.text("#messages .reply .text").is_empty());
    }
    assert_eq!((ada.errors(), ben.errors()), (vec![], vec![]));
}

#[test]
fn what_is_said_while_the_server_is_away_arrives_once_when_it_is_back() {
    let mut app = App::start();
    let browser = Browser::start();
    let (ada, ben) = (join(&browser, &app, "Ada"), join(&browser, &app, "Ben"));
    say(&ada, "Before");
    ben.wait_for(REPLY);
    app.kill();
    ada.wait_for("document.querySelector('#link').dataset.link === 'reconnecting'");
    ada.click("#wants-reply");
    say(&ada, "Meanwhile");
    ada.wait_for("document.querySelector('#messages .unsent .note')?.innerText");
    let _app = app.restart();
    ben.wait_for("[...document.querySelectorAll('#messages .text')].some(text => text.innerText === 'Meanwhile')");
    ada.wait_for("!document.querySelector('#messages .unsent')");
    assert_eq!(texts(&ada), texts(&ben));
    assert_eq!(texts(&ada).len(), 3);
}

/// Not a check: `cargo test --test it -- --ignored the_picture` makes docs/screenshot.png anew.
#[test]
#[ignore = "writes docs/screenshot.png"]
fn the_picture_for_the_readme_is_taken() {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "30")]);
    let browser = Browser::start();
    let (ada, ben) = (join(&browser, &app, "Ada"), join(&browser, &app, "Ben"));
    ada.click("#ask [name=size][value='1024x640']");
    ada.write("#prompt", "A lighthouse in the first light of the day, gulls over a calm sea");
    ada.click("#ask .primary");
    ada.wait_for("document.querySelector('#made img')?.naturalWidth > 0");
    ben.click("#wants-reply");
    say(&ben, "Morning! I have just opened the page. Do all of us really see the same words at the same time?");
    ada.wait_for("document.querySelectorAll('#messages li').length === 1");
    say(&ada, "We do: there is one stream, and the **room** tells it to everybody. Persona, what can you do?");
    ada.wait_for(REPLY);
    ben.click("#wants-reply");
    say(&ben, "How does a reply reach us while it is still being written?");
    ada.wait_for("document.querySelector('#messages .reply.streaming .text')?.innerText.length > 40");
    let picture = ada.picture();
    assert!(picture.len() <= 300 * 1024, "{} bytes are too many", picture.len());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::create_dir_all(&docs).unwrap();
    std::fs::write(docs.join("screenshot.png"), picture).unwrap();
}
