//! What holds for the stream of a provider whatever its bytes are. The fuzz target looks for bytes for which it does not, and
//! the ordinary tests try those of the corpus.

use std::collections::VecDeque;

use persona_community::providers::{
    Fault, TextStep,
    gemini::chunks::Chunks,
    openai_compatible::chat::Chat,
    wire::{
        answer::{Answer, Dialect},
        event_stream::{Decoder, Item},
    },
};

/// Fails where the stream is read otherwise because it comes in other pieces, where its text depends on when it is asked
/// for, or where an answer is taken for whole that says nothing. The first byte says how long the pieces are.
pub fn hold(bytes: &[u8]) {
    let Some((length, stream)) = bytes.split_first() else { return };
    let (items, stray) = read([stream]);
    let pieces = read(stream.chunks(usize::from(length % 16) + 1));
    assert_eq!((&items, &stray), (&pieces.0, &pieces.1), "in pieces it is another");
    for (often, seldom) in [
        (answer::<Chat>(&items, &stray, true), answer::<Chat>(&items, &stray, false)),
        (answer::<Chunks>(&items, &stray, true), answer::<Chunks>(&items, &stray, false)),
    ] {
        assert_eq!(often, seldom, "its text depends on when it is asked for");
        let (text, end) = often;
        assert!(end.is_err() || !text.trim().is_empty(), "it says nothing, and is taken for whole");
    }
    // Whatever it is, it is either an answer or none.
    let _ = Answer::<Chat>::new("test", String::new()).take_whole(stream);
    let _ = Answer::<Chunks>::new("test", String::new()).take_whole(stream);
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, String) {
    let (mut decoder, mut items) = (Decoder::default(), VecDeque::new());
    for piece in pieces {
        decoder.push(piece, &mut items).expect("it is short");
    }
    decoder.finish(&mut items);
    (items.into(), decoder.stray().to_owned())
}

/// The text of an answer, and how it ends.
fn answer<D: Dialect>(items: &[Item], stray: &str, often: bool) -> (String, Result<TextStep, Fault>) {
    let (mut answer, mut text) = (Answer::<D>::new("test", String::new()), String::new());
    let mut taken = Ok(());
    let mut is_over = false;
    for item in items {
        let Item::Event { name, data } = item else { continue };
        taken = answer.take(name, data);
        if often {
            text.extend(answer.text());
        }
        is_over = name != "error" && data.trim() == "[DONE]";
        if taken.is_err() || is_over {
            break;
        }
    }
    if taken.is_ok() && !is_over {
        taken = answer.end(stray);
    }
    text.extend(answer.text());
    let end = taken.and_then(|()| answer.done());
    (text, end.map_err(|error| error.fault))
}
