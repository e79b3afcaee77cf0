//! A Redis that doesn't check the fence: on the way to it, the script that logs an event loses that check.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
};

use crate::support::redis::Redis;

/// What the script answers to somebody whose attempt is not the newest.
const CHECK: &str = "return {'fenced'}";

/// A way to this Redis, until the test ends. Where everybody takes it, Redis knows the script without its check alone.
pub fn unfenced(redis: &Redis) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (near, port) = (listener.local_addr().unwrap(), redis.port);
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let (mut answers, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut answers, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = unfence(BufReader::new(near), &far);
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    format!("redis://{near}")
}

/// Carries commands, until one end closes.
fn unfence(mut from: impl BufRead, mut to: impl Write) -> io::Result<()> {
    loop {
        let count = number(&mut from, "*")?;
        let mut command = format!("*{count}\r\n").into_bytes();
        for _ in 0..count {
            let mut word = word(&mut from)?;
            if word.windows(CHECK.len()).any(|text| text == CHECK.as_bytes()) {
                word = String::from_utf8(word).unwrap().replace(CHECK, "").into_bytes();
            }
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(&word);
            command.extend_from_slice(b"\r\n");
        }
        to.write_all(&command)?;
    }
}

fn number(from: &mut impl BufRead, mark: &str) -> io::Result<usize> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    line.trim_end().strip_prefix(mark).and_then(|digits| digits.parse().ok()).ok_or_else(|| io::Error::other("no command"))
}

fn word(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let length = number(from, "$")?;
    let mut bytes = vec![0; length + 2];
    from.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}
