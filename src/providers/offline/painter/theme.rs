//! Reads a prompt into a theme: the light, what is to be seen, in which colors, and a seed for the rest.
//!
//! It knows words, not grammar: a color belongs to the thing named right after it, else to the mood.

use super::canvas::Rgb;
use super::noise::{Random, hash};
use super::vocabulary::{Hour, Meaning, Motif, Species, is_plural, meaning, natural_color};

/// At most so many animals sit in a picture.
pub const MAX_ANIMALS: usize = 3;

const MAX_WORDS: usize = 400;
/// A color reaches this many words ahead: "a red, fluffy, little fox".
const COLOR_REACH: usize = 3;

/// What a picture is to show.
#[derive(Clone, Debug)]
pub struct Theme {
    pub seed: u64,
    pub hour: Hour,
    pub motifs: Vec<Motif>,
    /// Each with the color of its coat, where one was named.
    pub animals: Vec<(Species, Option<Rgb>)>,
    /// The color of the mood.
    pub tint: Option<Rgb>,
    colors: Vec<(Motif, Rgb)>,
}

impl Theme {
    /// The theme of a prompt; every prompt has one.
    pub fn read(prompt: &str) -> Self {
        let prompt = prompt.trim().to_lowercase();
        let mut reading = Reading::default();
        for token in tokens(&prompt).take(MAX_WORDS) {
            reading.take(token);
        }
        reading.mood = reading.mood.or(reading.pending.map(|(color, _)| color));
        reading.into_theme(hash(&prompt))
    }

    /// Whether `motif` is to be seen.
    pub fn shows(&self, motif: Motif) -> bool {
        self.motifs.contains(&motif)
    }

    pub fn shows_any(&self, motifs: &[Motif]) -> bool {
        motifs.iter().any(|motif| self.shows(*motif))
    }

    /// The first color that was named for anything.
    pub fn main_color(&self) -> Option<Rgb> {
        self.tint.or_else(|| self.colors.first().map(|(_, color)| *color))
    }

    /// The color that was named for `motif`.
    pub fn color_of(&self, motif: Motif) -> Option<Rgb> {
        self.colors.iter().find(|(colored, _)| *colored == motif).map(|(_, color)| *color)
    }
}

/// Words; a Chinese or Japanese character or an emoji is a word of its own.
fn tokens(prompt: &str) -> impl Iterator<Item = &str> {
    let is_ideograph = |c: char| matches!(c, '\u{2600}'..='\u{27bf}' | '\u{3400}'..='\u{9fff}' | '\u{1f300}'..='\u{1faff}');
    prompt.split(move |c: char| !c.is_alphanumeric() && !is_ideograph(c)).flat_map(move |word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let end = if is_ideograph(first) { first.len_utf8() } else { rest.find(is_ideograph).unwrap_or(rest.len()) };
            let (token, after) = rest.split_at(end);
            rest = after;
            Some(token)
        })
    })
}

#[derive(Default)]
struct Reading {
    hour: Option<Hour>,
    motifs: Vec<Motif>,
    animals: Vec<(Species, Option<Rgb>)>,
    colors: Vec<(Motif, Rgb)>,
    mood: Option<Rgb>,
    number: usize,
    /// A color that waits for its thing, and how many words it still waits.
    pending: Option<(Rgb, usize)>,
}

impl Reading {
    fn take(&mut self, word: &str) {
        match meaning(word) {
            Some(Meaning::Color(color)) => {
                self.mood = self.mood.or(self.pending.map(|(color, _)| color));
                self.pending = Some((color, COLOR_REACH));
            }
            Some(Meaning::Hour(hour)) => self.hour = self.hour.or(Some(hour)),
            Some(Meaning::Number(number)) => self.number = number,
            Some(Meaning::Species(species)) => {
                let coat = self.pending.take().map(|(color, _)| color);
                let count = self.number.max(if is_plural(word) { 2 } else { 1 });
                self.animals.extend(std::iter::repeat_n((species, coat), count));
                self.animals.truncate(MAX_ANIMALS);
                self.number = 0;
            }
            Some(Meaning::Motif(motif)) => {
                let named = self.pending.take().map(|(color, _)| color);
                self.colors.extend(named.or_else(|| natural_color(word)).map(|color| (motif, color)));
                if !self.motifs.contains(&motif) {
                    self.motifs.push(motif);
                }
            }
            None => self.wait(),
        }
    }

    fn wait(&mut self) {
        match self.pending {
            Some((color, 0)) => {
                self.mood = self.mood.or(Some(color));
                self.pending = None;
            }
            Some((color, words)) => self.pending = Some((color, words - 1)),
            None => {}
        }
    }

    fn into_theme(mut self, seed: u64) -> Theme {
        let mut random = Random::new(seed);
        let places = [
            Motif::Abstract,
            Motif::Beach,
            Motif::City,
            Motif::Desert,
            Motif::Flowers,
            Motif::Forest,
            Motif::Hills,
            Motif::Lake,
            Motif::Mountains,
            Motif::Sea,
            Motif::Space,
        ];
        if !self.motifs.iter().any(|motif| places.contains(motif)) {
            self.motifs.extend_from_slice(self.usual_place(&mut random));
        }
        let hour = self.hour.unwrap_or_else(|| self.usual_hour(&mut random));
        Theme { seed, hour, motifs: self.motifs, animals: self.animals, tint: self.mood, colors: self.colors }
    }

    fn usual_place(&self, random: &mut Random) -> &'static [Motif] {
        let named = |motif| self.motifs.contains(&motif);
        if named(Motif::Boat) {
            &[Motif::Sea]
        } else if self.animals.iter().any(|(species, _)| *species == Species::Penguin) {
            &[Motif::Snow, Motif::Mountains]
        } else if named(Motif::Snow) || named(Motif::Aurora) {
            random.pick([
                &[Motif::Forest, Motif::Mountains],
                &[Motif::Hills, Motif::Forest],
                &[Motif::Mountains, Motif::Lake],
                &[Motif::Hills, Motif::Forest],
            ])
        } else if !self.animals.is_empty() || named(Motif::House) || named(Motif::Fireflies) {
            random.pick([&[Motif::Flowers], &[Motif::Hills, Motif::Flowers], &[Motif::Hills, Motif::Forest], &[Motif::Mountains, Motif::Flowers]])
        } else {
            random.pick([
                &[Motif::Mountains, Motif::Lake, Motif::Birds],
                &[Motif::Hills, Motif::Flowers, Motif::Balloon],
                &[Motif::Sea, Motif::Boat],
                &[Motif::Forest, Motif::Mountains, Motif::Birds],
            ])
        }
    }

    fn usual_hour(&self, random: &mut Random) -> Hour {
        let named = |motifs: &[Motif]| self.motifs.iter().any(|motif| motifs.contains(motif));
        if named(&[Motif::Moon, Motif::Stars, Motif::Aurora, Motif::Space, Motif::Fireflies]) {
            Hour::Night
        } else if named(&[Motif::Sun, Motif::Rainbow, Motif::Beach, Motif::Desert]) {
            Hour::Day
        } else {
            random.pick([Hour::Dawn, Hour::Day, Hour::Sunset, Hour::Sunset])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_belongs_to_the_thing_named_after_it() {
        let theme = Theme::read("A red, very fluffy fox in the green forest at night");
        assert_eq!(theme.hour, Hour::Night);
        assert!(matches!(theme.animals.as_slice(), [(Species::Fox, Some(_))]));
        assert!(theme.color_of(Motif::Forest).is_some());
        assert_eq!(theme.tint, None);
        assert!(Theme::read("everything in purple").tint.is_some());
    }

    #[test]
    fn several_animals_are_several() {
        assert_eq!(Theme::read("two cats").animals.len(), 2);
        assert_eq!(Theme::read("wolves").animals.len(), 2);
        assert_eq!(Theme::read("cats, dogs and foxes").animals.len(), MAX_ANIMALS);
    }

    #[test]
    fn characters_without_spaces_are_words_too() {
        let theme = Theme::read("雪山的夜晚有一只猫");
        assert!(theme.shows(Motif::Snow) && theme.shows(Motif::Mountains));
        assert!(matches!(theme.animals.as_slice(), [(Species::Cat, None)]));
    }

    #[test]
    fn a_prompt_of_unknown_words_still_has_a_place() {
        for prompt in ["", "zxcvb", "the quarterly report", "🦊"] {
            assert!(!Theme::read(prompt).motifs.is_empty(), "{prompt}");
        }
    }
}
