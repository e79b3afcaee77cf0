//! The words that change a picture, and what they stand for.
//!
//! English first, with the commonest words of a few other languages. Words that are not here still
//! matter: they seed everything the known ones leave open.

use super::canvas::Rgb;

/// The light of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hour {
    Dawn,
    Day,
    Sunset,
    Dusk,
    Night,
}

/// Something a picture can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motif {
    Abstract,
    Aurora,
    Autumn,
    Balloon,
    Beach,
    Birds,
    Boat,
    City,
    Clouds,
    Desert,
    Fireflies,
    Flowers,
    Fog,
    Forest,
    Hills,
    House,
    Lake,
    Moon,
    Mountains,
    Rain,
    Rainbow,
    Sea,
    Snow,
    Space,
    Stars,
    Sun,
}

/// An animal that can sit in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Species {
    Bear,
    Cat,
    Deer,
    Dog,
    Fox,
    Koala,
    Lion,
    Mouse,
    Owl,
    Panda,
    Penguin,
    Rabbit,
    Tiger,
    Wolf,
}

/// What one word stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    Hour(Hour),
    Motif(Motif),
    Species(Species),
    Color(Rgb),
    Number(usize),
}

/// The meaning of a lower-case word, singular or plural.
pub fn meaning(word: &str) -> Option<Meaning> {
    let without = |ending| word.strip_suffix(ending).and_then(exact);
    exact(word).or_else(|| ["es", "s", "en", "n", "e"].into_iter().find_map(without))
}

/// The color a thing has when none is named: lavender is not just any flower.
pub fn natural_color(word: &str) -> Option<Rgb> {
    Some(Rgb::hex(match word {
        "rose" | "roses" | "poppy" | "poppies" | "tulip" | "tulips" => 0xd83a44,
        "lavender" | "orchid" | "orchids" => 0x8a6cd8,
        "sunflower" | "sunflowers" | "🌻" => 0xf7b92c,
        "daisy" | "daisies" => 0xf6f4ee,
        "cherry" | "sakura" | "🌸" => 0xf4a8c0,
        _ => return None,
    }))
}

/// Whether `word` names several of what it means.
pub fn is_plural(word: &str) -> bool {
    matches!(word, "wolves" | "mice" | "kitties" | "puppies" | "bunnies") || (word.ends_with('s') && exact(word).is_none())
}

fn exact(word: &str) -> Option<Meaning> {
    hour(word)
        .map(Meaning::Hour)
        .or_else(|| motif(word).map(Meaning::Motif))
        .or_else(|| species(word).map(Meaning::Species))
        .or_else(|| color(word).map(Meaning::Color))
        .or_else(|| number(word).map(Meaning::Number))
}

fn hour(word: &str) -> Option<Hour> {
    Some(match word {
        "dawn" | "sunrise" | "morning" | "daybreak" | "morgen" | "amanecer" | "aube" | "晨" | "早" => Hour::Dawn,
        "day" | "noon" | "daylight" | "sunny" | "summer" | "spring" | "bright" | "midday" | "tag" | "昼" => Hour::Day,
        "sunset" | "evening" | "golden" | "sundown" | "sonnenuntergang" | "atardecer" | "abend" | "夕" => Hour::Sunset,
        "dusk" | "twilight" | "synthwave" | "vaporwave" | "dreamy" | "neon" | "昏" => Hour::Dusk,
        "night" | "midnight" | "dark" | "nocturnal" | "nacht" | "noche" | "nuit" | "notte" | "ночь" | "夜" | "🌃" | "晚" => Hour::Night,
        _ => return None,
    })
}

fn motif(word: &str) -> Option<Motif> {
    Some(match word {
        "abstract" | "pattern" | "wallpaper" | "gradient" | "geometric" | "texture" | "logo" => Motif::Abstract,
        "aurora" | "borealis" | "polarlicht" => Motif::Aurora,
        "autumn" | "fall" | "october" | "herbst" | "otoño" | "秋" => Motif::Autumn,
        "balloon" | "airship" | "zeppelin" => Motif::Balloon,
        "beach" | "coast" | "shore" | "island" | "tropical" | "palm" | "strand" | "playa" => Motif::Beach,
        "bird" | "seagull" | "gull" | "swallow" | "flock" | "vogel" | "鸟" | "鳥" => Motif::Birds,
        "boat" | "ship" | "sail" | "sailboat" | "yacht" | "boot" | "barco" | "bateau" | "船" | "⛵" => Motif::Boat,
        "city" | "cities" | "skyline" | "town" | "street" | "skyscraper" | "building" | "metropolis" | "urban" | "cyberpunk" | "downtown"
        | "tokyo" | "york" | "paris" | "london" | "berlin" | "stadt" | "ciudad" | "ville" | "город" | "城" | "🏙" | "街" => Motif::City,
        "cloud" | "cloudy" | "overcast" | "wolke" | "nube" | "云" | "雲" => Motif::Clouds,
        "desert" | "dune" | "sand" | "sahara" | "cactus" | "cacti" | "camel" | "pyramid" | "wüste" | "desierto" | "沙" => Motif::Desert,
        "firefly" | "fireflies" | "magic" | "magical" | "fairy" | "fantasy" | "enchanted" | "lantern" => Motif::Fireflies,
        "flower" | "rose" | "tulip" | "daisy" | "daisies" | "poppy" | "poppies" | "sunflower" | "lavender" | "meadow" | "garden" | "blossom"
        | "bloom" | "cherry" | "sakura" | "orchid" | "blume" | "flor" | "fleur" | "花" | "🌸" | "🌻" | "🌷" => Motif::Flowers,
        "fog" | "foggy" | "mist" | "misty" | "haze" | "nebel" | "niebla" | "雾" | "霧" => Motif::Fog,
        "forest" | "wood" | "tree" | "pine" | "jungle" | "fir" | "woodland" | "spruce" | "wald" | "baum" | "bosque" | "forêt" | "лес" | "林"
        | "🌲" | "🌳" | "木" => Motif::Forest,
        "hill" | "field" | "grass" | "countryside" | "valley" | "farm" | "pasture" | "prairie" | "feld" | "wiese" | "草" => Motif::Hills,
        "house" | "home" | "cottage" | "cabin" | "hut" | "village" | "castle" | "haus" | "casa" | "maison" | "дом" | "家" | "🏠" => {
            Motif::House
        }
        "lake" | "river" | "pond" | "reflection" | "fjord" | "water" | "lago" | "lac" | "озеро" | "湖" | "水" => Motif::Lake,
        "moon" | "moonlight" | "moonlit" | "mond" | "luna" | "lune" | "луна" | "月" | "🌙" | "🌕" => Motif::Moon,
        "mountain" | "alps" | "peak" | "summit" | "cliff" | "rocky" | "alpine" | "himalaya" | "berg" | "montaña" | "montagne" | "гора" | "山"
        | "⛰" | "🏔" => Motif::Mountains,
        "rain" | "rainy" | "storm" | "stormy" | "thunder" | "lightning" | "drizzle" | "wet" | "regen" | "lluvia" | "pluie" | "дождь" | "雨" | "🌧" => {
            Motif::Rain
        }
        "rainbow" | "regenbogen" | "虹" | "🌈" => Motif::Rainbow,
        "sea" | "ocean" | "wave" | "harbor" | "harbour" | "bay" | "marine" | "meer" | "mar" | "mer" | "море" | "海" | "🌊" => Motif::Sea,
        "snow" | "snowy" | "winter" | "ice" | "icy" | "frozen" | "arctic" | "glacier" | "blizzard" | "christmas" | "xmas" | "schnee" | "nieve"
        | "neige" | "снег" | "雪" | "❄" | "⛄" | "冬" => Motif::Snow,
        "space" | "galaxy" | "galaxies" | "universe" | "cosmos" | "cosmic" | "nebula" | "planet" | "astronaut" | "rocket" | "spaceship" | "alien"
        | "mars" | "milky" | "宇" => Motif::Space,
        "star" | "starry" | "constellation" | "stern" | "estrella" | "星" | "⭐" | "🌟" => Motif::Stars,
        "sun" | "sunshine" | "sonne" | "sol" | "soleil" | "солнце" | "阳" | "☀" | "陽" => Motif::Sun,
        _ => return None,
    })
}

fn species(word: &str) -> Option<Species> {
    Some(match word {
        "bear" | "grizzly" | "teddy" | "bär" | "oso" | "медведь" | "熊" | "🐻" => Species::Bear,
        "cat" | "kitten" | "kitty" | "kitties" | "katze" | "gato" | "gatto" | "кот" | "кошка" | "猫" | "🐱" | "🐈" | "貓" => {
            Species::Cat
        }
        "deer" | "stag" | "doe" | "fawn" | "reindeer" | "moose" | "elk" | "hirsch" | "reh" | "鹿" | "🦌" => Species::Deer,
        "dog" | "puppy" | "puppies" | "hound" | "corgi" | "labrador" | "hund" | "perro" | "chien" | "cane" | "собака" | "狗" | "🐶" | "🐕" | "犬" => {
            Species::Dog
        }
        "fox" | "fuchs" | "zorro" | "renard" | "volpe" | "лиса" | "狐" | "🦊" => Species::Fox,
        "koala" | "🐨" => Species::Koala,
        "lion" | "löwe" | "león" | "狮" | "🦁" | "獅" => Species::Lion,
        "mouse" | "mice" | "rat" | "hamster" | "maus" | "鼠" | "🐭" => Species::Mouse,
        "owl" | "eule" | "🦉" | "búho" | "hibou" | "сова" | "鸮" => Species::Owl,
        "panda" | "🐼" => Species::Panda,
        "penguin" | "pinguin" | "🐧" | "pingüino" | "pingouin" | "пингвин" => Species::Penguin,
        "rabbit" | "bunny" | "bunnies" | "hare" | "hase" | "conejo" | "lapin" | "兔" | "🐰" | "🐇" => Species::Rabbit,
        "tiger" | "tigre" | "虎" | "🐯" => Species::Tiger,
        "wolf" | "wolves" | "husky" | "coyote" | "lobo" | "loup" | "волк" | "狼" | "🐺" => Species::Wolf,
        _ => return None,
    })
}

fn color(word: &str) -> Option<Rgb> {
    Some(Rgb::hex(match word {
        "red" | "crimson" | "scarlet" | "ruby" | "rot" | "rojo" | "rouge" | "красный" | "红" | "赤" => 0xc83a2e,
        "orange" | "amber" | "copper" | "ginger" | "橙" => 0xe88632,
        "yellow" | "gold" | "gelb" | "amarillo" | "jaune" | "黄" => 0xf2c544,
        "green" | "emerald" | "lime" | "olive" | "grün" | "verde" | "vert" | "зелёный" | "绿" | "緑" => 0x5b9e4d,
        "teal" | "turquoise" | "cyan" | "mint" | "aqua" => 0x2fa8a0,
        "blue" | "azure" | "navy" | "cobalt" | "sapphire" | "blau" | "azul" | "bleu" | "синий" | "蓝" | "青" => 0x3d72c9,
        "purple" | "violet" | "lilac" | "indigo" | "lila" | "morado" | "紫" => 0x8052b8,
        "pink" | "magenta" | "rosa" | "粉" => 0xe87fa8,
        "brown" | "chocolate" | "braun" | "marrón" => 0x805638,
        "black" | "schwarz" | "negro" | "noir" | "чёрный" | "黑" | "黒" => 0x302e38,
        "white" | "weiß" | "blanco" | "blanc" | "белый" | "白" => 0xf2efea,
        "grey" | "gray" | "silver" | "grau" | "gris" | "灰" => 0x8f949e,
        _ => return None,
    }))
}

fn number(word: &str) -> Option<usize> {
    Some(match word {
        "two" | "2" | "zwei" | "dos" | "deux" | "couple" | "pair" | "两" => 2,
        "three" | "3" | "drei" | "tres" | "trois" | "several" | "many" | "三" => 3,
        _ => return None,
    })
}
