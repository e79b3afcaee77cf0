//! The corpus of the fuzz target for providers' streams: every stream of it, cut at every byte, and changed at random.

#[path = "../../fuzz/stream.rs"]
mod stream;

use std::{path::Path, sync::LazyLock};

use proptest::prelude::*;

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/provider_stream");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
});

#[test]
fn every_stream_of_the_corpus_holds_in_any_pieces_and_cut_anywhere() {
    assert!(CORPUS.len() >= 16, "the corpus is not where it is looked for");
    for bytes in CORPUS.iter() {
        for length in 0..16 {
            stream::hold(&[&[length], &bytes[1..]].concat());
        }
        (0..bytes.len()).for_each(|end| stream::hold(&bytes[..end]));
    }
}

/// A change to a stream: where, how much of it goes, and what comes instead.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>)>> {
    const WORDS: &[&str] = &[
        "\n",
        "\r",
        "\r\n\r\n",
        "data:",
        "data: [DONE]\n\n",
        "event: error\n",
        ": ",
        "<think>",
        "</think>",
        "\"",
        "{",
        "}",
        "null",
        "\u{feff}",
        "🦀",
    ];
    let word = prop_oneof![prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec((any::<prop::sample::Index>(), 0_usize..8, word), 1..8)
}

proptest! {
    #[test]
    fn streams_that_were_changed_at_random_hold(which in any::<prop::sample::Index>(), length in any::<u8>(), changes in changes()) {
        let mut bytes = CORPUS[which.index(CORPUS.len())].clone();
        for (at, gone, word) in changes {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..(at + gone).min(bytes.len()), word);
        }
        stream::hold(&[&[length], bytes.as_slice()].concat());
    }

    #[test]
    fn whatever_the_bytes_are_they_hold(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        stream::hold(&bytes);
    }
}
