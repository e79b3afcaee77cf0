//! What the product is for, from end to end.

use serde_json::json;

use crate::support::{
    app::App,
    person::{GENERAL, Person},
};

#[tokio::test]
async fn a_message_reaches_the_room_and_its_reply_streams_to_one_end() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut stream = ben.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;

    let chat = stream.next_logged().await;
    assert_eq!((chat.kind(), &chat.data["result"]["userName"]), ("chat", &json!("Ada")));
    let (mut text, mut seq) = (String::new(), 0);
    let end = loop {
        let event = stream.next_logged().await;
        assert_eq!(event.data["jobId"], json!(job));
        if event.kind() == "ai_chat" {
            break event;
        }
        assert_eq!((event.kind(), &event.data["result"]["seq"]), ("ai_chat_chunk", &json!(seq)));
        text.push_str(event.data["result"]["text"].as_str().unwrap());
        seq += 1;
    };
    assert_eq!(end.data["result"]["content"], json!(text));
    assert_eq!((&end.data["result"]["provider"], &end.data["result"]["finishReason"]), (&json!("offline"), &json!("stop")));

    let history = ben.get("/api/chat/messages?channel=channel:general").await;
    let roles: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, [json!("user"), json!("assistant")]);
    assert_eq!(history["streaming"], json!([]));
}
