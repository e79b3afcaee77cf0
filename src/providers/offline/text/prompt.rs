//! Reads a prompt: what it says, in which script, and which part of it is meant.
//!
//! Everything a reply may quote passes through here, so control and bidirectional override
//! characters, and markdown that is not ours, end here. It judges no meaning beyond words.

const MAX_PROMPT_CHARS: usize = 16_000;
const STOP_WORDS: &str = " a about all also an and any are as at be been but by can could did do does for from give had has have \
    he her him his how i if in into is it its just let make me more my no not of on one or our out please she should so some \
    tell than that the their them then there these they this to up us was we were what when where which who why will with \
    would you your ";

/// A writing system, as far as the characters give it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Latin,
    Cyrillic,
    Greek,
    Han,
    Japanese,
    Hangul,
    Arabic,
    Hebrew,
    Devanagari,
    Thai,
}

impl Script {
    const ALL: [Self; 10] =
        [Self::Latin, Self::Cyrillic, Self::Greek, Self::Han, Self::Japanese, Self::Hangul, Self::Arabic, Self::Hebrew, Self::Devanagari, Self::Thai];

    /// Its name in English.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latin => "Latin",
            Self::Cyrillic => "Cyrillic",
            Self::Greek => "Greek",
            Self::Han => "Chinese",
            Self::Japanese => "Japanese",
            Self::Hangul => "Korean",
            Self::Arabic => "Arabic",
            Self::Hebrew => "Hebrew",
            Self::Devanagari => "Devanagari",
            Self::Thai => "Thai",
        }
    }

    /// A greeting of a language that is written in it.
    pub const fn greeting(self) -> &'static str {
        match self {
            Self::Latin => "Hello",
            Self::Cyrillic => "Здравствуйте",
            Self::Greek => "Γεια σας",
            Self::Han => "你好",
            Self::Japanese => "こんにちは",
            Self::Hangul => "안녕하세요",
            Self::Arabic => "مرحبا",
            Self::Hebrew => "שלום",
            Self::Devanagari => "नमस्ते",
            Self::Thai => "สวัสดี",
        }
    }

    fn of(c: char) -> Option<Self> {
        Some(match c {
            'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' => Self::Latin,
            '\u{370}'..='\u{3ff}' => Self::Greek,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{590}'..='\u{5ff}' => Self::Hebrew,
            '\u{600}'..='\u{6ff}' => Self::Arabic,
            '\u{900}'..='\u{97f}' => Self::Devanagari,
            '\u{e00}'..='\u{e7f}' => Self::Thai,
            '\u{3040}'..='\u{30ff}' => Self::Japanese,
            '\u{3400}'..='\u{9fff}' => Self::Han,
            '\u{ac00}'..='\u{d7af}' => Self::Hangul,
            _ => return None,
        })
    }
}

/// A prompt, cleaned and taken apart.
pub struct Prompt {
    /// Without control characters but the line feed.
    pub text: String,
    pub lower: String,
    /// Lower case, letters and digits only, in their order.
    pub words: Vec<String>,
}

impl Prompt {
    /// Cleans a prompt of any length and takes it apart.
    pub fn read(raw: &str) -> Self {
        let text: String = raw.trim().replace('\t', " ").chars().filter(|c| *c == '\n' || is_printable(*c)).take(MAX_PROMPT_CHARS).collect();
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self { text, lower, words }
    }

    /// Whether one of `words` stands in the prompt as a word of its own.
    pub fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Whether one of `phrases` occurs anywhere, in any case.
    pub fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.lower.contains(phrase))
    }

    /// The part that is meant when someone says "reverse this": quoted text, else what follows a colon.
    pub fn quoted(&self) -> Option<&str> {
        const QUOTES: [(char, char); 5] = [('"', '"'), ('“', '”'), ('«', '»'), ('„', '“'), ('`', '`')];
        let between = QUOTES.iter().find_map(|(open, close)| {
            let (_, rest) = self.text.split_once(*open)?;
            let (inner, _) = rest.split_once(*close)?;
            Some(inner)
        });
        let after_colon = || self.text.split_once(": ").or_else(|| self.text.split_once(":\n")).map(|(_, rest)| rest);
        between.or_else(after_colon).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The script of most letters; none when there are no letters that give a hint.
    pub fn script(&self) -> Option<Script> {
        let mut counts = [0_usize; Script::ALL.len()];
        for script in self.text.chars().filter_map(Script::of) {
            counts[script as usize] += 1;
        }
        // Japanese mixes in Han characters; a single kana tells the two apart.
        if counts[Script::Japanese as usize] > 0 {
            counts[Script::Japanese as usize] += std::mem::take(&mut counts[Script::Han as usize]);
        }
        Script::ALL.into_iter().filter(|script| counts[*script as usize] > 0).max_by_key(|script| counts[*script as usize])
    }

    /// The longest words that carry meaning, in the order in which they stand.
    pub fn keywords(&self, limit: usize) -> Vec<&str> {
        let mut ranked: Vec<(usize, &str)> = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            let length = word.chars().count();
            let carries = (3..=24).contains(&length) || (length > 0 && length <= 24 && !word.is_ascii());
            let stop = STOP_WORDS.split_whitespace().any(|stop| stop == word);
            let known = ranked.iter().any(|(_, kept)| kept == word);
            if carries && !stop && !known && ranked.len() < 200 {
                ranked.push((at, word));
            }
        }
        ranked.sort_by_key(|(_, word)| std::cmp::Reverse(word.chars().count()));
        ranked.truncate(limit);
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, word)| word).collect()
    }

    /// A number that depends on every character, for choices that should differ from prompt to prompt.
    pub fn choice(&self, options: usize) -> usize {
        let hash = self.text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let folded = hash ^ (hash >> 15);
        usize::try_from(folded).unwrap_or(0) % options.max(1)
    }
}

/// One line of at most `limit` characters, for use inside a code span.
pub fn excerpt(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'");
    let line: String = line.chars().filter(|c| is_printable(*c)).collect();
    if line.chars().count() <= limit {
        return line;
    }
    line.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// One line of plain text in which no character starts markdown.
pub fn escaped(text: &str, limit: usize) -> String {
    let mut escaped = String::new();
    for c in excerpt(text, limit).chars() {
        if c.is_ascii_punctuation() && !".,'-".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn is_printable(c: char) -> bool {
    let overrides_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !overrides_direction && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_told_apart() {
        for (text, script) in [
            ("Привет, как дела?", Some(Script::Cyrillic)),
            ("你好世界", Some(Script::Han)),
            ("日本語を話します", Some(Script::Japanese)),
            ("한국어", Some(Script::Hangul)),
            ("hello", Some(Script::Latin)),
            ("123 !?", None),
        ] {
            assert_eq!(Prompt::read(text).script(), script, "{text}");
        }
    }

    #[test]
    fn quoted_text_is_found_in_many_quotes() {
        for text in ["reverse \"one two\" now", "reverse “one two”", "reverse «one two»", "reverse: one two", "reverse `one two`"] {
            assert_eq!(Prompt::read(text).quoted(), Some("one two"), "{text}");
        }
        assert_eq!(Prompt::read("reverse it").quoted(), None);
    }

    #[test]
    fn keywords_leave_out_small_words() {
        let prompt = Prompt::read("Why is the ocean blue and the ocean deep in winter?");
        assert_eq!(prompt.keywords(3), ["ocean", "blue", "winter"]);
    }

    #[test]
    fn control_and_override_characters_end_here() {
        let prompt = Prompt::read("a\u{0}b\u{1b}[31mc\u{202e}d\u{7}\ne");
        assert_eq!(prompt.text, "ab[31mcd\ne");
        assert_eq!(excerpt("x\u{0}`y`\n\nz", 40), "x'y' z");
    }

    #[test]
    fn names_cannot_bring_markdown() {
        assert_eq!(escaped("[x](javascript:y) _z_", 40), r"\[x\]\(javascript\:y\) \_z\_");
    }
}
