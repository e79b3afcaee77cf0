//! What the rules can do, one function a skill.
//!
//! A skill looks at the prompt and answers or stays silent. None of them guesses: what a skill says is
//! computed from the prompt, is about this product, or is said to come from a box of ready-made lines.

use super::arithmetic::{Refusal, result, sums};
use super::prompt::{Prompt, Script, excerpt};
use super::wordplay::{count, plural, transform};

const MAX_SUMS: usize = 3;

/// A rule: the answer, or none when the prompt does not ask for it.
pub type Skill = fn(&Prompt) -> Option<String>;

/// All skills, the most specific first.
pub const ALL: [Skill; 9] = [calculate, count, transform, throw, connect, draw, show_markdown, write_haiku, introduce];

/// Whether the prompt asks how to get answers from a real model.
pub fn asks_for_connection(prompt: &Prompt) -> bool {
    let model = prompt.has(&["api", "model", "models", "llm", "gpt", "chatgpt", "claude", "openai", "gemini", "laozhang", "ollama", "provider"]);
    let how =
        prompt.has(&["connect", "configure", "config", "setup", "set", "use", "add", "enable", "real", "how", "which", "switch", "install", "key"]);
    (model && how) || prompt.says(&["what model", "are you offline", "why are you offline"])
}

/// The fallback: what can be seen of a prompt without understanding it.
pub fn describe(prompt: &Prompt) -> String {
    if prompt.words.is_empty() {
        return format!("I found no words to work with. Things to try:\n\n{TRY}");
    }
    let mut seen = vec![format!("- **Length:** {}, {}", plural(prompt.words.len(), "word"), plural(prompt.text.chars().count(), "character"))];
    if let Some(script) = prompt.script() {
        seen.push(format!("- **Script:** {}", script.name()));
    }
    let kind = if prompt.text.contains(['?', '？', '؟']) { "a question" } else { "a statement or a request" };
    seen.push(format!("- **Form:** {kind}"));
    let keywords: Vec<String> = prompt.keywords(4).iter().map(|word| format!("`{}`", excerpt(word, 24))).collect();
    if !keywords.is_empty() {
        seen.push(format!("- **Keywords:** {}", keywords.join(", ")));
    }
    format!("I can't answer that one, but here is how your message looks to me:\n\n{}\n\nThings I really can do:\n\n{TRY}", seen.join("\n"))
}

const TRY: &str = "- `what is 12 * (3 + 4)?`\n- `how many r in strawberry?`\n- `reverse \"stressed\"`\n- `show me some markdown`";

fn calculate(prompt: &Prompt) -> Option<String> {
    let lines: Vec<String> = sums(&prompt.text, MAX_SUMS)
        .into_iter()
        .map(|sum| {
            let expression = excerpt(&sum.expression, 80);
            match sum.value {
                Ok(value) => format!("`{expression}` {}", result(value)),
                Err(Refusal::DivisionByZero) => {
                    format!("`{expression}` has no value: something is divided by zero.")
                }
                Err(Refusal::NotReal) => format!("`{expression}` is not a real number."),
                Err(_) => format!("`{expression}` is too large for me."),
            }
        })
        .collect();
    match lines.as_slice() {
        [] => None,
        [line] => Some(format!("I can do sums: {line}")),
        lines => Some(format!("I can do sums:\n\n- {}", lines.join("\n- "))),
    }
}

fn throw(prompt: &Prompt) -> Option<String> {
    let honest = "from a hash of your message; the same message always throws the same";
    if prompt.has(&["coin"]) && prompt.has(&["flip", "toss", "throw"]) {
        return Some(format!("**{}** ({honest}).", ["Heads", "Tails"][prompt.choice(2)]));
    }
    let rolls = prompt.has(&["roll", "throw"]) && prompt.has(&["die", "dice", "d6", "d20"]);
    let sides = if prompt.has(&["d20"]) { 20 } else { 6 };
    rolls.then(|| format!("You rolled **{}** of {sides} ({honest}).", prompt.choice(sides) + 1))
}

fn connect(prompt: &Prompt) -> Option<String> {
    asks_for_connection(prompt).then(|| {
        "To get answers from a real model, set one of these and restart the server:\n\n\
         - `OPENAI_API_KEY` for OpenAI; with `OPENAI_BASE_URL` for any server that speaks its protocol\n\
         - `GEMINI_API_KEY` for Google Gemini\n\
         - `LAOZHANG_API_KEY` for LaoZhang\n\n\
         A model on your own machine works too, for example with Ollama:\n\n\
         ```sh\nOPENAI_BASE_URL=http://localhost:11434/v1 OPENAI_API_KEY=ollama persona\n```\n\n\
         As soon as a key is there, I step back."
            .to_owned()
    })
}

fn draw(prompt: &Prompt) -> Option<String> {
    let draws = prompt.has(&["draw", "paint", "sketch", "picture", "image", "illustration", "zeichne", "dibuja", "dessine"]) || prompt.says(&["画"]);
    draws.then(|| {
        "Pictures are made by image generation rather than in chat: send the same words to `POST /api/generate/image`. \
         Offline a small painter draws a landscape from them. It knows weather, times of day, seas, forests, \
         mountains, cities and quite a few animals. Try `a red fox in the snow at night`."
            .to_owned()
    })
}

fn show_markdown(prompt: &Prompt) -> Option<String> {
    prompt.has(&["markdown", "table", "formatting", "codeblock"]).then(|| {
        "### A little of everything\n\n\
         Text can be **bold**, *italic*, ~~gone~~ or `code`, and link to [CommonMark](https://commonmark.org).\n\n\
         1. First\n2. Second\n   - nested\n\n\
         > A quote, for the wise.\n\n\
         | Fruit | Colour |\n|---|---|\n| Apple | red |\n| Plum | blue |\n\n\
         ```rust\nfn main() {\n    println!(\"Hello, community!\");\n}\n```"
            .to_owned()
    })
}

fn write_haiku(prompt: &Prompt) -> Option<String> {
    const FIRST: [&str; 3] = ["Rain on the window,", "First snow on the roof,", "Wind across the sea,"];
    const SECOND: [&str; 3] = ["a message finds its way home,", "words arrive one at a time,", "the kettle begins to sing,"];
    const THIRD: [&str; 3] = ["someone writes hello.", "the cursor still blinks.", "and the room is warm."];
    prompt.has(&["poem", "haiku", "story", "verse", "rhyme", "poetry"]).then(|| {
        let pick = prompt.choice(27);
        let lines = [FIRST[pick % 3], SECOND[pick / 3 % 3], THIRD[pick / 9 % 3]].map(|line| format!("> {line}"));
        format!("Real stories need a real model. From my box of ready-made lines, a haiku:\n\n{}", lines.join("  \n"))
    })
}

fn introduce(prompt: &Prompt) -> Option<String> {
    let asks = prompt.has(&["help", "features", "capabilities", "persona"])
        || prompt.says(&["what can you", "what do you do", "who are you", "what are you", "what is this", "what can i", "how does this work"]);
    let few_words = prompt.words.len() <= 6 && !prompt.text.contains('?');
    let greets = few_words && prompt.has(&["hi", "hello", "hey", "hallo", "hola", "bonjour", "ciao", "salut", "привет", "hej"]);
    let greets = greets
        || (prompt.words.len() <= 2 && prompt.script().is_some_and(|script| prompt.text.starts_with(script.greeting()) && script != Script::Latin));
    if asks || greets {
        return Some(format!(
            "Persona Community is a realtime server for chat and generation:\n\n\
             - **Chat rooms** with presence, typing and AI replies that stream in word by word\n\
             - **Text and pictures** generated as jobs that report their progress\n\
             - **One event stream** that resumes where it broke off\n\n\
             Without a model I can count, calculate and show off markdown:\n\n{TRY}"
        ));
    }
    prompt
        .has(&["thanks", "thank", "danke", "gracias", "merci", "спасибо", "谢谢"])
        .then(|| "You are welcome! Rules are glad to be of use, as far as rules can be glad.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skills_stay_silent_when_they_are_not_asked() {
        let prompt = Prompt::read("The weather was lovely in Lisbon last spring.");
        assert!(ALL.iter().all(|skill| skill(&prompt).is_none()));
    }

    #[test]
    fn typical_replies_are_of_a_comfortable_length() {
        for prompt in ["hi", "Why is the sky blue?", "write a poem", "what is 2+2", "connect gpt", "show markdown", "draw a cat"] {
            let text = super::super::reply(&super::super::Request { prompt, author: None });
            let words = text.split_whitespace().count();
            assert!((30..=180).contains(&words), "{prompt}: {words} words");
        }
    }
}
