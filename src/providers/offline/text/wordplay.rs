//! What can be done to a text without understanding it: counting it and turning it around.

use super::prompt::{Prompt, excerpt};

const MAX_QUOTED_CHARS: usize = 200;

/// Counts words, characters and lines, or one letter of a word.
pub fn count(prompt: &Prompt) -> Option<String> {
    if !prompt.has(&["count", "counts", "many", "length", "long"]) {
        return None;
    }
    if let Some(answer) = count_letter(prompt) {
        return Some(answer);
    }
    if !prompt.has(&["word", "words", "character", "characters", "letter", "letters", "line", "lines", "length"]) && prompt.quoted().is_none() {
        return None;
    }
    let (whose, text) = prompt.quoted().map_or(("Your whole message", prompt.text.as_str()), |quoted| ("The text you mean", quoted));
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    Some(format!(
        "{whose} has **{}**, **{}** ({}) and **{}**.",
        plural(text.split_whitespace().count(), "word"),
        plural(text.chars().count(), "character"),
        plural(letters, "letter"),
        plural(text.lines().count(), "line"),
    ))
}

/// "How many r in strawberry?", "how many s's are in Mississippi?"
fn count_letter(prompt: &Prompt) -> Option<String> {
    let words: Vec<&str> = prompt.words.iter().map(String::as_str).collect();
    let after_many = words.iter().position(|word| *word == "many")? + 1;
    let preposition = words.iter().rposition(|word| ["in", "of"].contains(word)).filter(|at| *at > after_many)?;
    let letter = words[after_many..preposition].iter().find_map(|word| {
        let mut chars = word.strip_suffix('s').filter(|rest| !rest.is_empty()).unwrap_or(word).chars();
        chars.next().filter(|c| c.is_alphabetic() && chars.next().is_none())
    })?;
    let word = words[preposition + 1..].iter().find(|word| !["the", "a", "word"].contains(*word))?;
    let times = word.chars().filter(|c| *c == letter).count();
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    Some(format!("Counted letter by letter: `{letter}` stands **{times}** in `{}`.", excerpt(word, 60)))
}

/// Turns quoted text around, or changes its case.
pub fn transform(prompt: &Prompt) -> Option<String> {
    let reversing = prompt.says(&["reverse", "backward"]);
    let upper = prompt.says(&["uppercase", "upper case", "capital letters", "all caps"]);
    let lower = prompt.says(&["lowercase", "lower case"]);
    if !(reversing || upper || lower) {
        return None;
    }
    let Some(quoted) = prompt.quoted() else {
        return Some("Put the text into quotes and I will turn it around: `reverse \"stressed\"` or `uppercase \"hello\"`.".to_owned());
    };
    let text = excerpt(quoted, MAX_QUOTED_CHARS);
    let mut lines = Vec::new();
    if reversing {
        lines.push(format!("Reversed: `{}`", reversed(&text)));
    }
    if upper {
        lines.push(format!("In upper case: `{}`", excerpt(&text.to_uppercase(), MAX_QUOTED_CHARS)));
    }
    if lower {
        lines.push(format!("In lower case: `{}`", excerpt(&text.to_lowercase(), MAX_QUOTED_CHARS)));
    }
    Some(lines.join("\n\n"))
}

/// Accents and emoji joiners stay behind the character they belong to.
fn reversed(text: &str) -> String {
    let mut clusters: Vec<String> = Vec::new();
    let mut after_joiner = false;
    for c in text.chars() {
        let joiner = c == '\u{200d}';
        let attaches = joiner || after_joiner || matches!(c, '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
        match clusters.last_mut() {
            Some(cluster) if attaches => cluster.push(c),
            _ => clusters.push(c.to_string()),
        }
        after_joiner = joiner;
    }
    clusters.into_iter().rev().collect()
}

/// "1 word", "2 words".
pub fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(skill: fn(&Prompt) -> Option<String>, prompt: &str) -> String {
        skill(&Prompt::read(prompt)).unwrap_or_default()
    }

    #[test]
    fn letters_in_a_word_are_counted() {
        assert!(ask(count, "How many r's are in the word strawberry?").contains("`r` stands **3 times** in `strawberry`"));
        assert!(ask(count, "how many b in bee").contains("**once**"));
        assert_eq!(ask(count, "How many people live in Paris?"), "");
    }

    #[test]
    fn words_and_lines_of_quoted_text_are_counted() {
        let text = ask(count, "Count the words: one two\nthree");
        assert!(text.contains("**3 words**") && text.contains("**13 characters**") && text.contains("**2 lines**"), "{text}");
    }

    #[test]
    fn quoted_text_is_reversed_with_its_accents() {
        assert_eq!(ask(transform, "reverse \"stressed\""), "Reversed: `desserts`");
        assert_eq!(reversed("ae\u{301}b"), "be\u{301}a");
        assert_eq!(ask(transform, "uppercase: straße"), "In upper case: `STRASSE`");
    }
}
