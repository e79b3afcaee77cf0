//! Personas: who answers in a room, how, and when.
//!
//! Refuses to know how a persona is kept, and which model speaks for it: that is `route`'s, or the settings'.

use std::{collections::HashSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{channel::Channel, id::PersonaId, model::Target, timestamp::Timestamp};

/// Somebody an AI plays in a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Persona {
    pub id: PersonaId,
    /// Its room.
    pub channel: Channel,
    /// How the room shows it, and calls it: `@name`.
    pub name: String,
    /// What it is told of itself before all else; may be empty.
    pub prompt: String,
    pub answers: Answers,
    /// Who speaks for it, in order; empty: whoever serves chat.
    pub route: Vec<Target>,
    pub parameters: Parameters,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// When a persona answers a message that asks for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// Every one.
    Always,
    /// Those that mention it.
    Mentioned,
    /// None.
    Never,
}

/// How a model is to speak; what is not said here is the provider's or the settings'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// The most tokens of a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// The most tokens of what it is shown of its room, the reply included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
}

/// A persona as its room sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Speaker {
    pub id: PersonaId,
    pub name: String,
}

impl Answers {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Mentioned, Self::Never];

    /// The name that clients see and the store keeps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Mentioned => "mentioned",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No persona answers so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of always, mentioned, never")]
pub struct UnknownAnswers;

impl FromStr for Answers {
    type Err = UnknownAnswers;

    fn from_str(text: &str) -> Result<Self, UnknownAnswers> {
        Self::ALL.into_iter().find(|answers| answers.as_str() == text).ok_or(UnknownAnswers)
    }
}

impl Persona {
    /// As its room sees it.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        Speaker { id: self.id.clone(), name: self.name.clone() }
    }
}

/// Those of a room's personas that answer a person's `content`.
#[must_use]
pub fn answering<'a>(personas: &'a [Persona], content: &str) -> Vec<&'a Persona> {
    let mentioned = mentioned(personas, content);
    let answers = |persona: &&Persona| match persona.answers {
        Answers::Always => true,
        Answers::Mentioned => mentioned.contains(&persona.id),
        Answers::Never => false,
    };
    personas.iter().filter(answers).collect()
}

/// Those that `content` calls: `@` at the beginning of a word, then the name or the id. Where one name begins with another,
/// the longer one is meant.
fn mentioned<'a>(personas: &'a [Persona], content: &str) -> HashSet<&'a PersonaId> {
    let mut found = HashSet::new();
    let mut before = None;
    for (at, char) in content.char_indices() {
        if char == '@' && !before.is_some_and(char::is_alphanumeric) {
            let rest = &content[at + char.len_utf8()..];
            let called: Vec<_> = personas.iter().filter_map(|persona| Some((called(persona, rest)?, &persona.id))).collect();
            let longest = called.iter().map(|(length, _)| *length).max();
            found.extend(called.into_iter().filter(|(length, _)| Some(*length) == longest).map(|(_, id)| id));
        }
        before = Some(char);
    }
    found
}

/// How much of the beginning of `text` calls this persona.
fn called(persona: &Persona, text: &str) -> Option<usize> {
    [persona.name.as_str(), persona.id.as_str()].into_iter().filter_map(|name| begins_with(text, name)).max()
}

/// How much of the beginning of `text` is `name`, in whatever case, its spaces written as they are, as `_` or `-`, or left out.
fn begins_with(text: &str, name: &str) -> Option<usize> {
    let mut rest = text;
    for (index, word) in name.split_whitespace().enumerate() {
        if index > 0 {
            rest = rest.trim_start_matches(|char: char| char.is_whitespace() || matches!(char, '_' | '-'));
        }
        rest = without(rest, word)?;
    }
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    // Scripts that have no upper and lower case mostly have no spaces either.
    let is_spaced = |char: char| is_word(char) && (!char.is_alphabetic() || char.is_lowercase() || char.is_uppercase());
    let goes_on = rest.chars().next().is_some_and(is_word) && name.chars().last().is_some_and(is_spaced);
    (!goes_on && rest.len() < text.len()).then(|| text.len() - rest.len())
}

/// `text` without `word` at its beginning, in whatever case.
fn without<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut wanted = word.chars().flat_map(char::to_lowercase).peekable();
    let mut rest = text.chars();
    while wanted.peek().is_some() {
        let given = rest.next()?;
        if !given.to_lowercase().all(|lower| wanted.next() == Some(lower)) {
            return None;
        }
    }
    Some(rest.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn persona(id: &str, name: &str, answers: Answers) -> Persona {
        let now = Timestamp::from_millis(0);
        Persona {
            id: id.parse().unwrap(),
            channel: "channel:general".parse().unwrap(),
            name: name.to_owned(),
            prompt: String::new(),
            answers,
            route: Vec::new(),
            parameters: Parameters::default(),
            created_at: now,
            updated_at: now,
        }
    }

    fn who(names: &[&str], content: &str) -> Vec<String> {
        let personas: Vec<_> = names.iter().enumerate().map(|(at, name)| persona(&format!("p{at}"), name, Answers::Mentioned)).collect();
        answering(&personas, content).into_iter().map(|persona| persona.name.clone()).collect()
    }

    #[test]
    fn a_mention_is_an_at_sign_and_the_name_in_whatever_case() {
        for content in ["@Ada", "hi @ADA!", "(@ada)", "@ada's", "@ada, @ben", "„@Ada“", "\n@ada\n", "@p0"] {
            assert_eq!(who(&["Ada"], content), ["Ada"], "{content}");
        }
        for content in ["", "@", "Ada", "@Adam", "@ada_1", "mail@ada", "@ ada", "@ad"] {
            assert!(who(&["Ada"], content).is_empty(), "{content}");
        }
    }

    #[test]
    fn a_name_of_several_words_is_called_with_or_without_its_spaces() {
        for content in ["@Ada Lovelace", "@ada  lovelace?", "@AdaLovelace", "@ada_lovelace", "@ada-lovelace"] {
            assert_eq!(who(&["Ada Lovelace", "Ada", "Love"], content), ["Ada Lovelace"], "{content}");
        }
        assert_eq!(who(&["Ada Lovelace", "Ada"], "@ada, is love blind?"), ["Ada"]);
        assert_eq!(who(&["Ada Lovelace", "Ada"], "@ada and @Ada Lovelace"), ["Ada Lovelace", "Ada"]);
    }

    #[test]
    fn names_of_scripts_without_spaces_are_found_before_other_words() {
        assert_eq!(who(&["小明"], "@小明你好"), ["小明"]);
        assert_eq!(who(&["小明", "小明明"], "@小明明你好"), ["小明明"]);
        assert_eq!(who(&["Ёлка"], "@ёлка"), ["Ёлка"]);
    }

    #[test]
    fn who_answers_always_needs_no_mention_and_who_never_does_is_not_woken_by_one() {
        let personas = [persona("a", "A", Answers::Always), persona("b", "B", Answers::Mentioned), persona("c", "C", Answers::Never)];
        let ids = |content| answering(&personas, content).iter().map(|persona| persona.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids("hello"), ["a"]);
        assert_eq!(ids("@b @c"), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn random_text_never_panics(name in "\\PC{0,8}", content in "\\PC*") {
            let _ = who(&[&name], &format!("@{content}"));
        }

        #[test]
        fn whoever_is_called_by_their_whole_name_is_found(name in "[A-Za-zé]{1,8}( [A-Za-z]{1,8}){0,2}", before in "[a-z ]{0,5} ", after in "[ ,.!?]{0,3}") {
            prop_assert_eq!(who(&[&name], &format!("{before}@{}{after}", name.to_uppercase())), [name]);
        }
    }
}
