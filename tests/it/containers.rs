//! compose.yaml and the Dockerfile are held to the program: what they set and call is there, and what is built from is in the image.

use std::{collections::BTreeSet, path::Path};

use clap::CommandFactory as _;
use persona_community::cli::Cli;

use crate::support::app::App;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The variables that settings come from.
fn variables() -> BTreeSet<String> {
    Cli::command().get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect()
}

/// What compose.yaml sets for all of the program's services, as it stands there.
fn settings() -> Vec<(String, String)> {
    let compose = read("compose.yaml");
    let block = compose.split("  environment: &settings\n").nth(1).expect("compose.yaml has settings");
    let lines = block.lines().take_while(|line| line.starts_with("    ")).filter(|line| !line.trim().starts_with('#'));
    lines.map(|line| line.trim().split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[test]
fn every_variable_that_compose_and_the_image_set_is_a_setting() {
    let (known, dockerfile) = (variables(), read("Dockerfile"));
    let compose = settings();
    assert!(compose.len() > 5, "{compose:?}");
    let image = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let set = compose.iter().map(|(name, _)| name.as_str()).chain(image.map(|pair| pair.split_once('=').unwrap().0));
    let unknown: Vec<&str> = set.filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_compose_sets_is_right_for_each_of_its_parts() {
    let secret = "a-secret-of-the-tests-that-everybody-may-know";
    // What the operator gives, or its default.
    let given = |value: &str| match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(variable) if variable.contains(":?") => secret.to_owned(),
        Some(variable) => variable.split_once(":-").unwrap().1.to_owned(),
        None => value.to_owned(),
    };
    let set: Vec<(String, String)> =
        settings().into_iter().map(|(name, value)| (name, given(&value))).filter(|(_, value)| !value.is_empty()).collect();
    let set: Vec<(&str, &str)> = set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let checked = App::builder(&set).command().arg("check-config").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let shown = String::from_utf8(checked.stdout).unwrap();
    for place in ["cockroach", "redis:6379"] {
        assert!(shown.contains(place), "{place} in:\n{shown}");
    }
}

#[test]
fn compose_calls_commands_that_there_are_and_stops_them_no_sooner_than_they_are_done() {
    let (compose, command) = (read("compose.yaml"), Cli::command());
    let ours = compose.split("\n  cockroach:\n").next().unwrap();
    let called: BTreeSet<&str> = ours.lines().filter_map(|line| line.trim().strip_prefix("command: ")).collect();
    assert_eq!(called, BTreeSet::from(["migrate", "serve", "work"]));
    assert!(called.iter().all(|name| command.find_subcommand(name).is_some()), "{called:?}");

    let default = |name: &str| {
        let argument = command.get_arguments().find(|argument| argument.get_env().is_some_and(|variable| variable == name)).unwrap();
        argument.get_default_values()[0].to_str().unwrap().to_owned()
    };
    let value = |name: &str| settings().into_iter().find(|(set, _)| set == name).map_or_else(|| default(name), |(_, value)| value);
    let number = |name: &str| value(name).parse::<u64>().unwrap();
    let grace: u64 = ours.split("stop_grace_period: ").nth(1).unwrap().split('s').next().unwrap().parse().unwrap();
    assert!(number("PERSONA_DRAIN_MS").div_ceil(1000) + number("PERSONA_STOP_SECONDS") < grace);
}

/// What the Dockerfile copies from here, in either of its stages.
fn copied() -> Vec<String> {
    let dockerfile = read("Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from="));
    lines.flat_map(|line| line.split_whitespace().rev().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&entry).unwrap());
        }
    }
}

#[test]
fn the_image_is_built_from_all_that_the_program_is_made_of() {
    let (copied, ignored, mut texts) = (copied(), read(".dockerignore"), Vec::new());
    for path in &copied {
        assert!(root().join(path).exists(), "{path} is copied, and not there");
        assert!(!ignored.lines().any(|line| line.trim_start_matches('/') == path), "{path} is copied, and ignored");
    }
    assert!(["Cargo.toml", "Cargo.lock", ".cargo", "src"].iter().all(|path| copied.iter().any(|copied| copied == path)), "{copied:?}");
    sources(&root().join("src"), &mut texts);
    // Whatever lies outside of src is named from the root, or by climbing to it.
    for text in &texts {
        for (at, _) in text.match_indices("../../").chain(text.match_indices("embed_migrations!(\"")) {
            let path = text[at..].trim_start_matches("embed_migrations!(\"").trim_start_matches("../");
            let folder = path.split(['/', '"']).next().unwrap();
            assert!(copied.iter().any(|copied| copied == folder), "{folder} is not in the image");
        }
    }
}
