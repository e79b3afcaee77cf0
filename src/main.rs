//! The program `persona`; see [`persona_community`] for what it is made of.

use std::process::ExitCode;

use persona_community::cli::Cli;

fn main() -> ExitCode {
    match Cli::read().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("persona: {error:#}");
            ExitCode::FAILURE
        }
    }
}
