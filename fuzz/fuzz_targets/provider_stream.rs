//! Streams of providers: any bytes, in any pieces.

#![no_main]

#[path = "../stream.rs"]
mod stream;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stream::hold(bytes));
