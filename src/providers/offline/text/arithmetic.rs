//! Finds arithmetic in a prompt and works it out.
//!
//! Knows `+ - * / ^ %`, parentheses and decimals, and the words people use for them. It has no
//! variables and no functions, and it leaves alone what only looks like a sum: dates, telephone numbers, versions, "24/7".

mod expression;

use std::iter::Peekable;
use std::str::Chars;

use expression::Parser;
pub use expression::Refusal;

const MAX_EXPRESSION_CHARS: usize = 200;

/// An expression as found in a prompt, with what it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    pub expression: String,
    pub value: Result<f64, Refusal>,
}

/// The sums in `prompt`, in their order, without repetitions, at most `limit`.
pub fn sums(prompt: &str, limit: usize) -> Vec<Sum> {
    let spoken = spoken_to_symbols(prompt);
    let asked = asks_to_calculate(&spoken);
    let mut found: Vec<Sum> = Vec::new();
    for candidate in candidates(&spoken) {
        if found.len() == limit {
            break;
        }
        let alone = candidate == spoken.trim();
        let known = found.iter().any(|sum| sum.expression == candidate);
        if known || looks_like_a_date(&candidate) || !(asked || alone || is_plainly_a_sum(&candidate)) {
            continue;
        }
        let mut parser = Parser::new(&candidate);
        let value = parser.whole();
        let malformed = matches!(value, Err(Refusal::Malformed | Refusal::TooDeep));
        if parser.operations > 0 && !malformed {
            found.push(Sum { expression: candidate, value });
        }
    }
    found
}

/// A value as shown after its expression: with "=", or with "≈" when digits were left out.
pub fn result(value: f64) -> String {
    let shown = display(value);
    let exact = shown.parse().is_ok_and(|rounded: f64| (rounded - value).abs() <= value.abs() * 1e-15);
    format!("{} **{shown}**", if exact { '=' } else { '≈' })
}

/// A value with at most twelve significant digits, so that 0.1 + 0.2 reads 0.3.
fn display(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..1e15).contains(&magnitude) {
        let scientific = format!("{value:.10e}");
        return match scientific.split_once('e') {
            Some((mantissa, exponent)) => format!("{} × 10^{exponent}", without_zeros(mantissa)),
            None => scientific,
        };
    }
    let decimals = (1..=12).find(|digits| magnitude < 10_f64.powi(*digits)).map_or(0, |digits| 12 - digits);
    let decimals = usize::try_from(decimals).unwrap_or(0);
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn spoken_to_symbols(prompt: &str) -> String {
    const SPOKEN: [(&str, &str); 9] = [
        (" plus ", " + "),
        (" minus ", " - "),
        (" times ", " * "),
        (" multiplied by ", " * "),
        (" divided by ", " / "),
        (" to the power of ", " ^ "),
        (" squared", " ^ 2"),
        (" x ", " * "),
        ("% of ", "% * "),
    ];
    let symbols = prompt.to_lowercase().replace(['×', '·'], "*").replace('÷', "/").replace('−', "-").replace("**", "^");
    SPOKEN.iter().fold(symbols, |text, (word, symbol)| text.replace(word, symbol))
}

fn asks_to_calculate(lower: &str) -> bool {
    ["what is", "what's", "calculat", "comput", "evaluat", "how much", "solve", "work out", "="].iter().any(|cue| lower.contains(cue))
}

/// The longest stretches made of nothing but digits, operators and parentheses.
fn candidates(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut run = String::new();
    let mut before = ' ';
    let mut run_follows = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() || ".+-*/^()% ".contains(c) {
            if run.is_empty() {
                run_follows = before;
            }
            run.push(c);
        } else if !(c == ',' && before.is_ascii_digit() && groups_thousands(&chars)) {
            found.extend(tidy(&run, run_follows, c));
            run.clear();
        }
        before = c;
    }
    found.extend(tidy(&run, run_follows, ' '));
    found
}

fn groups_thousands(rest: &Peekable<Chars<'_>>) -> bool {
    rest.clone().take_while(char::is_ascii_digit).take(4).count() == 3
}

/// A stretch without what belongs to the sentence around it: its full stop, bullet or bracket.
fn tidy(run: &str, before: char, after: char) -> Option<String> {
    let glued_to_a_word = (before.is_alphanumeric() && !run.starts_with(' ')) || (after.is_alphanumeric() && !run.ends_with(' '));
    if glued_to_a_word || run.len() > MAX_EXPRESSION_CHARS {
        return None;
    }
    let mut tidied = run.trim_start().trim_start_matches("- ").trim_start_matches(['+', '*', '/', '^', '%', ')', ' ']);
    tidied = tidied.trim_end_matches(['+', '-', '*', '/', '^', '(', '.', ' ']);
    let count = |text: &str, bracket| text.chars().filter(|c| *c == bracket).count();
    while count(tidied, ')') > count(tidied, '(') && tidied.ends_with(')') {
        tidied = tidied[..tidied.len() - 1].trim_end();
    }
    while count(tidied, '(') > count(tidied, ')') && tidied.starts_with('(') {
        tidied = tidied[1..].trim_start();
    }
    tidied.contains(|c: char| c.is_ascii_digit()).then(|| tidied.to_owned())
}

fn looks_like_a_date(candidate: &str) -> bool {
    ['-', '/', '.'].iter().any(|separator| {
        let groups: Vec<&str> = candidate.split(*separator).collect();
        let digits = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
        digits && groups.len() == 3 && groups.iter().any(|group| group.len() == 4)
    })
}

/// "3-4" or "24/7" in passing is a range or an idiom; with spaces or another operator it is a sum.
fn is_plainly_a_sum(candidate: &str) -> bool {
    candidate.contains(['+', '*', '^', '%']) || candidate.contains(" - ") || candidate.contains(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prompt: &str) -> Vec<String> {
        sums(prompt, 3).iter().map(|sum| format!("{}={}", sum.expression, sum.value.map_or("!".into(), display))).collect()
    }

    #[test]
    fn sums_are_found_in_sentences() {
        assert_eq!(found("What is 12 * (3 + 4)?"), ["12 * (3 + 4)=84"]);
        assert_eq!(found("Please, 0.1+0.2 and 2^10."), ["0.1+0.2=0.3", "2^10=1024"]);
        assert_eq!(found("what's 6 times 7"), ["6 * 7=42"]);
        assert_eq!(found("what is 20% of 50"), ["20% * 50=10"]);
        assert_eq!(found("1,000,000 * 3"), ["1000000 * 3=3000000"]);
        assert_eq!(found("(see 2+2)"), ["2+2=4"]);
        assert_eq!(found("7/0="), ["7/0=!"]);
    }

    #[test]
    fn what_only_looks_like_a_sum_is_left_alone() {
        for prose in ["open 24/7", "pages 3-4", "born 2024-05-06?", "what is 1/2/2024", "GPT-4", "v1.2.3", "call 555 123-4567", "5 times a day"] {
            assert!(found(prose).is_empty(), "{prose}: {:?}", found(prose));
        }
    }

    #[test]
    fn rounded_values_say_that_they_are_rounded() {
        assert_eq!(result(0.1 + 0.2), "= **0.3**");
        assert_eq!(result(2.0 / 3.0), "≈ **0.66666666667**");
        assert_eq!(result(2_f64.powi(64)), "≈ **1.8446744074 × 10^19**");
    }

    #[test]
    fn values_are_shown_without_binary_dust() {
        for (value, shown) in
            [(0.1 + 0.2, "0.3"), (1.0 / 3.0, "0.33333333333"), (1e14, "100000000000000"), (-2.50, "-2.5"), (2_f64.powi(100), "1.2676506002 × 10^30")]
        {
            assert_eq!(display(value), shown);
        }
    }
}
