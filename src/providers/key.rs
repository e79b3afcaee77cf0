//! The keys of providers. Refuses to be printed.

/// What opens a provider's door.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key; an empty one is none, for a server of one's own.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `text` without this key, and without anything else that looks like one.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = if self.is_empty() { text.to_owned() } else { text.replace(&self.0, MASK) };
        redacted(&text)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "Key(none)" } else { "Key(…)" })
    }
}

const MASK: &str = "[redacted]";
/// How keys begin, or what stands before them.
const MARKS: [&str; 6] = ["sk-", "sk_", "AIza", "gsk_", "key=", "Bearer"];

/// `text` without anything that looks like a key.
pub(super) fn redacted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut after_bearer = false;
    for piece in text.split_inclusive(|char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '&' | ',' | '?')) {
        let end = piece.len() - piece.chars().next_back().filter(|char| !char.is_alphanumeric()).map_or(0, char::len_utf8);
        let (word, separator) = piece.split_at(end);
        let is_secret = (after_bearer && !word.is_empty()) || MARKS.iter().any(|mark| word.contains(mark));
        after_bearer = word.ends_with("Bearer") || (after_bearer && word.is_empty());
        clean.push_str(if is_secret { MASK } else { word });
        clean.push_str(separator);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_key_is_never_kept() {
        let text = r#"Incorrect API key provided: sk-abc123. url https://x.test/v1?key=AIzaSyTop&x=1 "Authorization": "Bearer tok-en1" gsk_two"#;
        let shown = redacted(text);
        assert!(!["abc123", "SyTop", "tok-en1", "two"].iter().any(|secret| shown.contains(secret)), "{shown}");
        assert!(shown.contains("Incorrect API key provided: [redacted]") && shown.contains("&x=1"), "{shown}");
    }

    #[test]
    fn a_key_of_any_shape_is_taken_out_and_never_printed() {
        let key = Key::new("correct horse/battery");
        assert_eq!(key.redact("key 'correct horse/battery' is wrong"), "key '[redacted]' is wrong");
        assert_eq!(Key::default().redact("nothing to hide"), "nothing to hide");
        assert!(!format!("{key:?}").contains("horse"));
    }
}
