//! Keeps a model's thoughts out of its answer, where it puts them there: `<think>…</think>` before anything else.
//!
//! Refuses to look for them later in a text, which may speak about such words.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Nothing was said yet that decides it.
    #[default]
    Start,
    Inside,
    /// Behind the thoughts, where nothing is said yet.
    Behind,
    /// In the answer, up to its end.
    Answer,
}

/// Sifts a text that comes in pieces.
#[derive(Debug, Default)]
pub struct Thoughts {
    place: Place,
    held: String,
}

impl Thoughts {
    /// Adds to `answer` what belongs to it.
    pub fn sift(&mut self, piece: &str, answer: &mut String) {
        if self.place == Place::Answer {
            answer.push_str(piece);
            return;
        }
        self.held.push_str(piece);
        if self.place == Place::Start {
            let text = self.held.trim_start();
            if let Some(rest) = text.strip_prefix(OPEN) {
                (self.place, self.held) = (Place::Inside, rest.to_owned());
            } else if OPEN.starts_with(text) {
                return;
            } else {
                self.place = Place::Answer;
            }
        }
        if self.place == Place::Inside {
            match self.held.find(CLOSE) {
                Some(at) => {
                    self.place = Place::Behind;
                    self.held.drain(..at + CLOSE.len());
                }
                None => self.forget_all_but_an_end(),
            }
        }
        if self.place == Place::Behind {
            let rest = self.held.trim_start().to_owned();
            self.place = if rest.is_empty() { Place::Behind } else { Place::Answer };
            self.held = rest;
        }
        if self.place == Place::Answer {
            answer.push_str(&std::mem::take(&mut self.held));
        }
    }

    /// Adds to `answer` what was held back and turns out to belong to it.
    pub fn finish(&mut self, answer: &mut String) {
        if self.place == Place::Start {
            self.place = Place::Answer;
            answer.push_str(&std::mem::take(&mut self.held));
        }
    }

    /// Keeps of the thoughts only what may be the beginning of their end.
    fn forget_all_but_an_end(&mut self) {
        let longest = (1..CLOSE.len()).rev().find(|length| self.held.ends_with(&CLOSE[..*length])).unwrap_or(0);
        self.held.drain(..self.held.len() - longest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sifted<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
        let (mut thoughts, mut answer) = (Thoughts::default(), String::new());
        for piece in pieces {
            thoughts.sift(piece, &mut answer);
        }
        thoughts.finish(&mut answer);
        answer
    }

    #[test]
    fn only_thoughts_at_the_beginning_are_taken_out() {
        let cases = [
            ("<think>hm</think>\n\nfour", "four"),
            ("\n <think>a < b </thin </think>four", "four"),
            ("<think></think>four", "four"),
            ("<think>never closed", ""),
            ("four <think>is said</think>", "four <think>is said</think>"),
            ("<thin is a tag", "<thin is a tag"),
            ("<th", "<th"),
            ("  four", "  four"),
            ("", ""),
        ];
        for (text, answer) in cases {
            assert_eq!(sifted([text]), answer, "{text}");
            assert_eq!(sifted(text.split_inclusive(|_| true)), answer, "{text}, by characters");
        }
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_the_same_is_kept(text in "[ \n]?(<think>)?[<>/think é🦀]{0,20}(</think>)?[ \n]?[a-z<]{0,8}", cuts in prop::collection::vec(1_usize..4, 1..8)) {
            let characters: Vec<char> = text.chars().collect();
            let (mut rest, mut cut, mut pieces) = (&characters[..], cuts.iter().cycle(), Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
                pieces.push(piece.iter().collect::<String>());
                rest = after;
            }
            prop_assert_eq!(sifted(pieces.iter().map(String::as_str)), sifted([text.as_str()]));
        }
    }
}
