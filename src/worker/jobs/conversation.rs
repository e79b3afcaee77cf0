//! What a persona is shown of its room: its system prompt, and as much of what was said last as fits.
//!
//! People's messages carry their names; those of other personas are shown as theirs, one's own as the assistant's. Where not
//! all fits, the oldest is left out; the system prompt and the message to answer always stay. Refuses to read the store.

use crate::{
    id::PersonaId,
    providers::Role,
    store::{Author, Message},
    worker::tokens,
};

/// What a message costs beside its text.
const OVERHEAD: u64 = 4;

/// The turns for a reply by `speaker` to the last of `messages`, which stand oldest first, in at most `budget` tokens.
pub(super) fn of(speaker: Option<&PersonaId>, prompt: &str, messages: Vec<Message>, budget: u64) -> Vec<(Role, String)> {
    let system = (!prompt.is_empty()).then(|| (Role::System, prompt.to_owned()));
    let mut left = budget.saturating_sub(system.as_ref().map_or(0, |(_, prompt)| cost(prompt)));
    let mut turns: Vec<(Role, String)> = Vec::new();
    for message in messages.into_iter().rev() {
        let (role, content) = turn(speaker, message);
        let cost = cost(&content) + if let Role::User(name) = &role { tokens::estimate(name) } else { 0 };
        if cost > left && !turns.is_empty() {
            break;
        }
        left = left.saturating_sub(cost);
        turns.push((role, content));
    }
    turns.extend(system);
    turns.reverse();
    turns
}

fn cost(text: &str) -> u64 {
    OVERHEAD + tokens::estimate(text)
}

fn turn(speaker: Option<&PersonaId>, message: Message) -> (Role, String) {
    let role = match message.author {
        Author::Person { user_name, .. } => Role::User(user_name),
        Author::Assistant { persona, .. } => match persona {
            Some(other) if Some(&other.id) != speaker => Role::User(format!("{} (AI)", other.name)),
            // Before a room had personas, its AI had no name.
            None if speaker.is_some() => Role::User("AI".into()),
            _ => Role::Assistant,
        },
    };
    (role, message.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::FinishReason,
        id::{MessageId, StreamId},
        persona::Speaker,
        timestamp::Timestamp,
    };

    fn message(author: Author, content: &str) -> Message {
        let channel = "channel:general".parse().unwrap();
        Message { id: MessageId::new(), channel, content: content.to_owned(), author, timestamp: Timestamp::from_millis(0) }
    }

    fn person(content: &str) -> Message {
        message(Author::Person { user_id: "u_1".parse().unwrap(), user_name: "Ada".into(), client_id: None }, content)
    }

    fn ai(persona: Option<&str>, content: &str) -> Message {
        let persona = persona.map(|id| Speaker { id: id.parse().unwrap(), name: id.to_uppercase() });
        let author =
            Author::Assistant { provider: "p".into(), stream_id: StreamId::new(), reply_to: None, finish_reason: FinishReason::Stop, persona };
        message(author, content)
    }

    fn user(name: &str, content: &str) -> (Role, String) {
        (Role::User(name.into()), content.into())
    }

    #[test]
    fn authors_are_named_and_ones_own_words_are_the_assistants() {
        let said = || vec![person("one"), ai(Some("me"), "two"), ai(Some("you"), "three"), ai(None, "four"), person("five")];
        let me = "me".parse().unwrap();
        let own = (Role::Assistant, "two".to_owned());
        assert_eq!(
            of(Some(&me), "Be me.", said(), 1000),
            [(Role::System, "Be me.".into()), user("Ada", "one"), own, user("YOU (AI)", "three"), user("AI", "four"), user("Ada", "five")]
        );
        let nobody = of(None, "", said(), 1000);
        assert_eq!(nobody[1..4], [user("ME (AI)", "two"), user("YOU (AI)", "three"), (Role::Assistant, "four".into())]);
    }

    #[test]
    fn the_oldest_is_left_out_where_not_all_fits_but_neither_the_prompt_nor_the_question() {
        // Each costs 4, its 25 tokens, and one for the name.
        let said = || (0..10).map(|_| person(&"word".repeat(25))).collect::<Vec<_>>();
        let count = |prompt: &str, budget: u64| of(None, prompt, said(), budget).len();
        assert_eq!([count("", 300), count("", 299), count("", 60), count("", 59), count("", 0)], [10, 9, 2, 1, 1]);
        assert_eq!(count(&"rule".repeat(26), 90), 3);
        assert_eq!(count(&"rule".repeat(1000), 90), 2);
    }
}
