//! The product, tested as its users meet it: the real program, over real sockets.

mod flows;
mod support;
