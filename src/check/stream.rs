//! Reads a stream of Server-Sent Events, in the form in which this server writes it.
//!
//! Refuses what a browser would take and this server never sends: other line ends, fields without a space, several `data:`
//! lines. A frame that breaks off is no frame.

/// One block of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// The event's name; empty for a message.
    pub name: String,
    pub id: Option<String>,
    /// Without it, the block tells nothing but its id.
    pub data: Option<String>,
}

/// Puts blocks together from bytes that come in any pieces.
#[derive(Debug, Default)]
pub struct Blocks(Vec<u8>);

impl Blocks {
    /// Takes a piece, and gives every block that is whole now.
    ///
    /// # Errors
    /// The line that this server does not send.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Block>, String> {
        self.0.extend_from_slice(piece);
        let Some(end) = self.0.windows(2).rposition(|pair| pair == b"\n\n") else { return Ok(Vec::new()) };
        let rest = self.0.split_off(end + 2);
        let whole = String::from_utf8(std::mem::replace(&mut self.0, rest)).map_err(|error| error.to_string())?;
        whole.split_terminator("\n\n").map(read_block).collect()
    }
}

fn read_block(text: &str) -> Result<Block, String> {
    let mut block = Block::default();
    for line in text.lines().filter(|line| !line.starts_with(':')) {
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut block.name),
            Some(("id", id)) => block.id = Some(id.to_owned()),
            Some(("data", data)) if block.data.is_none() => block.data = Some(data.to_owned()),
            Some(("retry", _)) => {}
            _ => return Err(format!("the stream has the line {line:?}")),
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_are_read_however_the_bytes_are_cut(cut in 1_usize..40) {
            let text = ":\n\nretry: 2000\nid: a\nevent: ready\ndata: {}\n\nid: b\n\ndata: {\"é\":1}\n\nid: unfinished";
            let (mut blocks, mut read) = (Blocks::default(), Vec::new());
            for piece in text.as_bytes().chunks(cut) {
                read.extend(blocks.push(piece).unwrap());
            }
            let block = |name: &str, id: Option<&str>, data: Option<&str>| Block { name: name.into(), id: id.map(Into::into), data: data.map(Into::into) };
            let expected = [
                Block::default(),
                block("ready", Some("a"), Some("{}")),
                block("", Some("b"), None),
                block("", None, Some("{\"é\":1}")),
            ];
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn what_this_server_never_sends_is_refused() {
        for text in ["data:{}\n\n", "data: 1\ndata: 2\n\n", "what: ever\n\n", "data\n\n"] {
            assert!(Blocks::default().push(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
