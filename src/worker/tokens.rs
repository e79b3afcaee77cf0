//! How many tokens a text has, guessed: providers count differently, and some don't say.
//!
//! Errs on the side of too many, so that what is trimmed by it fits. Refuses to be exact: a tokenizer belongs to a model.

/// What a character weighs, in hundredths of a token: a word of Latin or Cyrillic letters has one for about four characters,
/// while each sign of Chinese, Japanese and Korean has one of its own, and some have two.
fn weight(char: char) -> u64 {
    match u32::from(char) {
        0x1100..=0x11ff | 0x2e80..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0xff00..=0xffef | 0x2_0000..=0x3_ffff => 125,
        0x1_f000..=0x1_ffff => 200,
        _ => 25,
    }
}

/// About as many tokens as `text` has.
#[must_use]
pub fn estimate(text: &str) -> u64 {
    text.chars().map(weight).sum::<u64>().div_ceil(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_a_token_for_four_letters_or_for_one_ideograph() {
        assert_eq!(estimate(""), 0);
        assert_eq!(estimate("four"), 1);
        assert_eq!(estimate("fifth"), 2);
        assert_eq!(estimate(&"a word ".repeat(100)), 175);
        assert_eq!(estimate(&"漢字かな한글".repeat(100)), 750);
    }
}
