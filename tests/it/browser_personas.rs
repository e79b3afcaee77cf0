//! The page as people meet personas in it: who there is, calling one of them, and what a day allows.

use serde_json::json;

use crate::{
    browser::{join, say},
    support::{
        admin::{TOKEN, put_persona},
        app::App,
        browser::{Browser, Page},
    },
};

const GENERAL: &str = "channel:general";
/// The names that are offered, and the one that Enter would take.
const OFFERED: &str = "[...document.querySelectorAll('#mentions li span:nth-child(2)')].map(name => name.innerText)";
const CHOSEN: &str = "document.querySelector('#mentions li[aria-selected=true] span:nth-child(2)')?.innerText";

fn draft(page: &Page) -> String {
    page.evaluate("document.querySelector('#draft').value").as_str().unwrap().to_owned()
}

/// A room with three personas beside the one it begins with.
async fn app() -> App {
    let app = App::with(&[("PERSONA_ADMIN_TOKEN", TOKEN), ("PERSONA_OFFLINE_PACE_MS", "1")]);
    for (id, name, answers) in [("ada", "Ada Lovelace", "mentioned"), ("alan", "Alan", "mentioned"), ("mute", "Amute", "never")] {
        put_persona(&app, id, &json!({"channel": GENERAL, "name": name, "answers": answers})).await;
    }
    app
}

#[tokio::test]
async fn the_personas_of_a_room_are_listed_and_called_by_a_click() {
    let app = app().await;
    let browser = Browser::start();
    let eve = join(&browser, &app, "Eve");
    eve.wait_for("document.querySelectorAll('#personas li').length === 4");
    let listed = eve.evaluate("[...document.querySelectorAll('#personas button')].map(button => button.innerText.replace(/\\s+/g, ' ').trim())");
    assert_eq!(listed, json!(["Ada Lovelace on @", "Alan on @", "Amute silent", "Persona"]));
    eve.click("#personas li:nth-child(2) button");
    assert_eq!(draft(&eve), "@Alan ");
    assert_eq!(eve.evaluate("document.activeElement.id"), "draft");
    // Another room has others, or none.
    eve.click("#rooms li:nth-child(2) .room");
    eve.wait_for("!document.querySelectorAll('#personas li').length && document.querySelector('#personas-label').hidden");
    assert_eq!(eve.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn who_is_called_by_at_is_offered_chosen_by_the_keyboard_and_answers() {
    let app = app().await;
    let browser = Browser::start();
    let eve = join(&browser, &app, "Eve");
    eve.wait_for("document.querySelectorAll('#personas li').length === 4");
    eve.write("#draft", "mail@a");
    assert_eq!(eve.evaluate(OFFERED), json!([]));
    eve.write("#draft", " hello @A");
    eve.wait_for("document.querySelectorAll('#mentions li').length");
    // Whoever never answers is not worth calling.
    assert_eq!((eve.evaluate(OFFERED), eve.evaluate(CHOSEN)), (json!(["Ada Lovelace", "Alan"]), json!("Ada Lovelace")));
    eve.press("ArrowDown");
    assert_eq!(eve.evaluate(CHOSEN), "Alan");
    eve.press("ArrowDown");
    assert_eq!(eve.evaluate(CHOSEN), "Ada Lovelace");
    eve.press("Escape");
    assert_eq!(eve.evaluate(OFFERED), json!([]));
    eve.write("#draft", "l");
    assert_eq!(eve.evaluate(OFFERED), json!(["Alan"]));
    eve.enter();
    assert_eq!(draft(&eve), "mail@a hello @Alan ");
    eve.write("#draft", "and @adal");
    assert_eq!(eve.evaluate(OFFERED), json!(["Ada Lovelace"]));
    eve.click("#mentions li");
    assert_eq!((draft(&eve).as_str(), eve.evaluate(OFFERED)), ("mail@a hello @Alan and @Ada Lovelace ", json!([])));
    eve.enter();
    eve.wait_for("document.querySelectorAll('#messages li.reply.sent').length === 3");
    // A name that is written out is sent as it is.
    eve.write("#draft", "@alan");
    eve.enter();
    eve.wait_for("document.querySelectorAll('#messages li.reply.sent').length === 5");
    let answered = eve.evaluate("[...document.querySelectorAll('#messages li.reply header b')].map(name => name.innerText).sort()");
    assert_eq!(answered, json!(["Ada Lovelace", "Alan", "Alan", "Persona", "Persona"]));
    assert_eq!(eve.errors(), Vec::<String>::new());
}

#[test]
fn what_was_used_is_shown_and_a_day_that_is_used_up_is_told_kindly() {
    let limits = [("PERSONA_MAX_TOKENS_PER_DAY", "5"), ("PERSONA_MAX_IMAGES_PER_DAY", "1"), ("PERSONA_OFFLINE_PACE_MS", "1")];
    let app = App::with(&limits);
    let browser = Browser::start();
    let (eve, ben) = (join(&browser, &app, "Eve"), join(&browser, &app, "Ben"));
    eve.wait_for("document.querySelector('#usage').innerText.includes('0 of 5')");
    say(&eve, "What can you do?");
    eve.wait_for("document.querySelector('#messages li.reply.sent')");
    eve.wait_for("document.querySelector('#usage .full b')");

    say(&eve, "And now?");
    eve.wait_for("document.querySelector('#messages .kindly')");
    let told = eve.text("#messages .kindly");
    assert!(told.starts_with("Everybody can read this, but no AI replies") && told.contains("begins anew at"), "{told}");
    ben.wait_for("[...document.querySelectorAll('#messages .text')].some(text => text.innerText === 'And now?')");
    assert_eq!(ben.evaluate("document.querySelectorAll('#messages .kindly').length"), 0);

    eve.click("#ask [name=kind][value=text]");
    eve.write("#prompt", "A welcome");
    eve.click("#ask .primary");
    eve.wait_for("document.querySelector('#ask-problem').innerText");
    let told = eve.text("#ask-problem");
    assert!(told.starts_with("That’s all for today") && told.contains("begins anew at"), "{told}");
    assert_eq!(eve.evaluate("document.querySelector('#prompt').value"), "A welcome", "what was refused is not lost");
}
