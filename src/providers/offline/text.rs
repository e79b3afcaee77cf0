//! Writes a reply without an AI model, so that chat works with no key and no network.
//!
//! A few fixed rules look at the prompt and do what rules can do honestly: work out sums, count, turn
//! text around, explain how to connect a real model. The reply says that it comes from rules. It never
//! pretends to understand, never makes up facts, and the same request always gets the same reply.

mod arithmetic;
mod prompt;
mod skills;
mod wordplay;

use prompt::{Prompt, Script, escaped};

/// No reply is longer, whatever the prompt.
pub const MAX_REPLY_CHARS: usize = 2_000;

const MAX_AUTHOR_CHARS: usize = 40;
const MAX_SKILLS: usize = 3;

/// What a reply is asked to.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub prompt: &'a str,
    /// The display name of who asks, when it is known.
    pub author: Option<&'a str>,
}

/// The reply to `request`: markdown, deterministic, at most [`MAX_REPLY_CHARS`] characters.
pub fn reply(request: &Request<'_>) -> String {
    let prompt = Prompt::read(request.prompt);
    let mut parts = vec![opening(&prompt, request.author)];
    parts.extend(skills::ALL.iter().filter_map(|skill| skill(&prompt)).take(MAX_SKILLS));
    if parts.len() == 1 {
        parts.push(skills::describe(&prompt));
    }
    if !skills::asks_for_connection(&prompt) {
        parts.push(closing(&prompt).to_owned());
    }
    bounded(parts.join("\n\n"))
}

/// Splits `text` into the pieces it is streamed in: each a word with the white space around it.
///
/// Only the first piece may start with white space. All pieces together are `text`.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word_starts = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let word_ends = rest[word_starts..].find(char::is_whitespace).map_or(rest.len(), |at| word_starts + at);
        let next_starts = rest[word_ends..].find(|c: char| !c.is_whitespace()).map_or(rest.len(), |at| word_ends + at);
        let (piece, after) = rest.split_at(next_starts);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn opening(prompt: &Prompt, author: Option<&str>) -> String {
    const WHO: [&str; 3] = [
        "This is the built-in offline provider: a handful of rules, no AI model.",
        "You are talking to the built-in offline provider. It follows rules and has no AI model behind it.",
        "The built-in offline provider is answering, which means simple rules and no AI model.",
    ];
    let greeting = prompt.script().unwrap_or(Script::Latin).greeting();
    let name = author.map(|name| escaped(name, MAX_AUTHOR_CHARS)).filter(|name| !name.is_empty());
    let who = WHO[prompt.choice(WHO.len())];
    match name {
        Some(name) => format!("{greeting}, {name}! {who}"),
        None => format!("{greeting}! {who}"),
    }
}

fn closing(prompt: &Prompt) -> &'static str {
    const HOW: [&str; 2] = [
        "For replies from a real model, set `OPENAI_API_KEY`, `GEMINI_API_KEY` or `LAOZHANG_API_KEY` and restart.",
        "*Ask me `how do I connect a model?` and I will show you the settings.*",
    ];
    HOW[prompt.choice(HOW.len())]
}

fn bounded(text: String) -> String {
    match text.char_indices().nth(MAX_REPLY_CHARS - 1) {
        Some((cut, last)) if cut + last.len_utf8() < text.len() => format!("{}…", &text[..cut]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(prompt: &str) -> String {
        reply(&Request { prompt, author: None })
    }

    #[test]
    fn every_reply_says_that_no_model_is_behind_it() {
        for prompt in ["", "hi", "2+2", "What can you do?", "объясни квантовую физику", "write a poem", "🦊"] {
            assert!(answer(prompt).contains("offline provider") && answer(prompt).contains("no AI model"), "{prompt}");
        }
    }

    #[test]
    fn arithmetic_in_a_prompt_is_answered() {
        assert!(answer("What is 12 * (3 + 4)?").contains("`12 * (3 + 4)` = **84**"));
        assert!(answer("1/0=").contains("divided by zero"));
    }

    #[test]
    fn the_author_is_greeted_by_name() {
        let text = reply(&Request { prompt: "hi there", author: Some("Ada\u{0} *L*\n") });
        assert!(text.starts_with(r"Hello, Ada \*L\*! "), "{text}");
    }

    #[test]
    fn someone_is_greeted_in_the_script_they_write() {
        assert!(answer("你好，你会做什么").starts_with("你好"));
    }

    #[test]
    fn how_to_connect_a_model_is_told() {
        let text = answer("How do I connect a real AI model like GPT?");
        for setting in ["LAOZHANG_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "restart"] {
            assert!(text.contains(setting), "{setting}");
        }
    }

    #[test]
    fn a_prompt_no_rule_knows_gets_a_list_and_a_code_span() {
        let text = answer("Why do cats purr when they are happy?");
        assert!(text.contains("\n- ") && text.contains('`'), "{text}");
    }

    #[test]
    fn the_same_request_gets_the_same_reply() {
        assert_eq!(answer("tell me something"), answer("tell me something"));
    }

    #[test]
    fn replies_are_bounded_and_free_of_control_characters() {
        let nasty: String = (0..16_000).map(|at| char::from_u32(at * 7 % 0x3000).unwrap_or('x')).collect();
        for prompt in [
            "(".repeat(16_000),
            "1+".repeat(8_000),
            "count words: ".to_owned() + &"a ".repeat(8_000),
            "reverse: ".to_owned() + &"`\u{301}".repeat(8_000),
            "uppercase: ".to_owned() + &"ŉﬃ".repeat(4_000),
            "what can you do? connect api key? markdown table, poem, draw, roll a die, what is 1+1, count words".to_owned(),
            "\u{0}\u{1b}\u{202e}".repeat(5_000),
            nasty,
        ] {
            let text = reply(&Request { prompt: &prompt, author: Some(&prompt) });
            assert!(text.chars().count() <= MAX_REPLY_CHARS);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }

    #[test]
    fn the_pieces_of_a_text_make_the_text_again() {
        for text in ["", " ", "\n\n a", "one", "one two\n\n- three  ", "你好 мир\u{a0}x\t", &answer("markdown please")] {
            assert_eq!(words(text).collect::<String>(), text);
        }
        assert_eq!(words(" a b\n\nc ").collect::<Vec<_>>(), [" a ", "b\n\n", "c "]);
    }
}
