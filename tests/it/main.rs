//! The product, tested as its users meet it: the real program, over real sockets.

mod browser;
mod flows;
mod support;
