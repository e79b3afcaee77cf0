//! Who may import whom, and what must not be found anywhere: read off the sources themselves.
//!
//! Each failure names the line and the rule. A rule that no longer fits is changed here, in the open, with the code that
//! needs it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What everything may speak of. Each may import those above it in this list.
const VOCABULARY: [&str; 13] =
    ["id", "timestamp", "model", "usage", "channel", "failure", "persona", "event", "job", "retry", "token", "wake", "metrics"];

/// Every other module, and what it may import beside the vocabulary: only what stands above it, so that all imports run
/// one way. What is absent is forbidden: the hub knows no store, the worker neither the hub nor the service, and the service
/// no provider and of the worker only how a job ends, since it does no AI work.
const MODULES: &[(&str, &[&str])] = &[
    ("log", &[]),
    ("store", &[]),
    ("media", &[]),
    ("providers", &["media"]),
    ("outbox", &["log", "store"]),
    ("realtime", &["log"]),
    ("worker", &["log", "store", "media", "providers", "outbox"]),
    ("api", &["log", "store", "media", "outbox", "realtime", "worker::ending"]),
    ("config", &["log", "store::Isolation", "store::Limit", "store::PostgresConfig", "store::Scope", "providers", "realtime", "worker"]),
    ("server", &["log", "store", "media", "providers", "outbox", "realtime", "worker", "api", "config"]),
    // Of the store and the worker only the benchmark of the queue, which measures them without the service before them.
    ("bench", &["server", "providers", "store", "worker", "log", "media", "outbox"]),
    ("check", &["log::Position", "realtime::cursor"]),
    ("cli", &["providers", "config", "server", "bench", "check"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// What may be named in some modules alone, and why.
const WORDS: &[(&[&str], &[&str], &str)] = &[
    // A benchmark fills tables with a past that the store would need years for.
    (&["diesel", "SqliteConnection"], &["store", "bench"], "SQL stands in `store` alone"),
    (&["StatusCode"], &["api"], "what an error means in HTTP is known in `api` alone"),
    (&["std::env", "env::var", "env::args", "env ="], &["config"], "the environment is read in `config` alone"),
    (&["websocket", "WebSocket", "ws://", "wss://"], &[], "there is no WebSocket: POST in, Server-Sent Events out"),
    (&["allow(unsafe_code"], &[], "unsafe code stands under `#[expect(unsafe_code, reason = …)]`"),
];

/// The most lines of a file.
const MAX_LINES: usize = 400;

struct Source {
    /// As messages name it: `src/log/mod.rs`.
    path: String,
    /// The top-level module it belongs to.
    module: String,
    /// How deep its module stands: 1 for `log`, 2 for `log::memory`.
    depth: usize,
    text: String,
    /// The text without comments, in the same lines.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.sort();
    assert!(paths.len() > 20, "the sources are not where they are looked for");
    paths.iter().map(|path| Source::read(path)).collect()
}

impl Source {
    fn read(path: &Path) -> Self {
        let path = path.strip_prefix(root()).unwrap();
        let within: Vec<String> = path.with_extension("").iter().skip(1).map(|part| part.to_str().unwrap().to_owned()).collect();
        let is_root_of_folder = within.last().is_some_and(|last| last == "mod");
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let code = text.lines().map(without_comment).collect::<Vec<_>>().join("\n");
        let depth = within.len() - usize::from(is_root_of_folder);
        Self { path: path.display().to_string(), module: within[0].clone(), depth, text, code }
    }

    /// The lines of the code, counted from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// Every path that begins at the crate's root, with its line: `store::Message` for `use crate::{store::{Message}}`.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (offset, start) in self.code.match_indices("crate::") {
            let is_part_of_a_name = self.code[..offset].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$');
            if !is_part_of_a_name {
                let (line, mut paths) = (self.code[..offset].matches('\n').count() + 1, Vec::new());
                expand(&self.code[offset + start.len()..], "", &mut paths);
                found.extend(paths.into_iter().map(|path| (line, path)));
            }
        }
        found
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

/// The paths of a use tree, `a::{b, c::d}` being `a::b` and `a::c::d`. Gives what comes after the tree.
fn expand<'a>(tree: &'a str, before: &str, found: &mut Vec<String>) -> &'a str {
    let end = tree.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(tree.len());
    let (name, mut rest) = tree.split_at(end);
    let path = format!("{before}{name}");
    if let Some(group) = tree.strip_prefix('{') {
        rest = group.trim_start();
        while !rest.starts_with('}') {
            assert!(!rest.is_empty(), "a group of imports has no end");
            rest = expand(rest, before, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        return &rest[1..];
    }
    if let Some(deeper) = rest.strip_prefix("::") {
        return expand(deeper, &format!("{path}::"), found);
    }
    found.push(path);
    rest.strip_prefix('*').unwrap_or(rest)
}

/// Whether `path` is, or lies below, `allowed`.
fn is_within(path: &str, allowed: &str) -> bool {
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn report(broken: &[String]) {
    let mut list = String::new();
    for line in broken {
        let _ = write!(list, "\n  {line}");
    }
    assert!(broken.is_empty(), "the architecture does not hold:{list}");
}

#[test]
fn imports_run_one_way() {
    let mut broken = Vec::new();
    for source in sources() {
        let Source { path, module, .. } = &source;
        let word = VOCABULARY.iter().position(|name| name == module).map(|place| (&[][..], &VOCABULARY[..place]));
        let part = || MODULES.iter().find(|(name, _)| name == module).map(|(_, allowed)| (*allowed, &VOCABULARY[..]));
        let Some((allowed, above)) = word.or_else(part) else {
            broken.push(format!("{path}: `{module}` has no place in MODULES of tests/it/architecture.rs; say what it may import"));
            continue;
        };
        for (line, import) in source.imports() {
            let may = [module.as_str()].iter().chain(allowed).chain(above).any(|allowed| is_within(&import, allowed));
            if !may {
                let list = if allowed.is_empty() { "nothing but the vocabulary above it" } else { &allowed.join(", ") };
                broken.push(format!("{path}:{line}: `{module}` imports `crate::{import}`, and may import {list}"));
            }
        }
    }
    report(&broken);
}

/// What has to happen before a stream begins: of thousands who come back at once none may cost the database a read.
const WAY_OF_A_STREAM: [&str; 5] = ["src/api/events.rs", "src/api/identity.rs", "src/api/body.rs", "src/server/accept.rs", "src/server/first.rs"];

#[test]
fn a_stream_begins_without_the_store() {
    let sources = sources();
    for path in WAY_OF_A_STREAM {
        let source = sources.iter().find(|source| source.path == path).unwrap_or_else(|| panic!("{path} is not there"));
        for (line, code) in source.lines() {
            let looks = code.contains(".store") || code.contains("store::");
            assert!(!looks, "{path}:{line}: a stream must begin without a look into the store");
        }
    }
}

#[test]
fn the_order_of_the_modules_has_no_circle() {
    for (index, (module, allowed)) in MODULES.iter().enumerate() {
        for import in *allowed {
            let above = MODULES[..index].iter().any(|(name, _)| is_within(import, name));
            assert!(above, "`{module}` may import `{import}`, which does not stand above it in MODULES");
        }
    }
}

#[test]
fn no_import_climbs_to_the_root_of_the_crate_by_super() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            let climbs = line.match_indices("super::").map(|(offset, _)| climbed(&line[offset..])).max().unwrap_or(0);
            let is_in_an_inline_module = line.starts_with(' ');
            if climbs > source.depth || (climbs == source.depth && !is_in_an_inline_module) {
                broken.push(format!("{}:{}: `{}`: say `crate::…`, so that the direction can be read", source.path, number, line.trim()));
            }
        }
    }
    report(&broken);
}

fn climbed(path: &str) -> usize {
    path.strip_prefix("super::").map_or(0, |rest| 1 + climbed(rest))
}

#[test]
fn what_belongs_to_one_module_is_named_in_no_other() {
    let mut broken = Vec::new();
    for source in sources() {
        for (words, modules, rule) in WORDS {
            if modules.contains(&source.module.as_str()) {
                continue;
            }
            for (number, line) in source.lines() {
                // Which program one is can't be a setting.
                let line = line.replace("std::env::current_exe", "");
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    broken.push(format!("{}:{number}: `{word}`: {rule}", source.path));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn no_dependency_and_no_page_speaks_websocket() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let mut broken = Vec::new();
    for name in read("Cargo.lock").lines().filter_map(|line| line.strip_prefix("name = ")) {
        let name = name.trim_matches('"');
        if ["websocket", "tungstenite"].iter().any(|part| name.contains(part)) || ["actix-ws", "actix-web-actors", "soketto"].contains(&name) {
            broken.push(format!("Cargo.lock: {name} speaks WebSocket"));
        }
    }
    let features = |line: &&str| line.contains("features") && line.contains("\"ws\"");
    broken.extend(read("Cargo.toml").lines().filter(features).map(|line| format!("Cargo.toml: the feature `ws` in {line}")));
    for word in ["WebSocket(", "ws://", "wss://"] {
        if read("web/index.html").contains(word) {
            broken.push(format!("web/index.html: {word}"));
        }
    }
    report(&broken);
}

#[test]
fn unsafe_code_stands_only_where_it_is_expected() {
    let cargo = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(cargo.contains("unsafe_code = \"deny\""), "Cargo.toml must deny unsafe code");
    let mut broken = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.lines() {
            let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| line.contains(word));
            let mut item = lines[..number - 1].iter().rev().take_while(|line| !line.is_empty());
            if is_unsafe && !item.any(|line| line.contains("#[expect(unsafe_code, reason =")) {
                broken.push(format!("{}:{}: unsafe code without `#[expect(unsafe_code, reason = …)]` on its item", source.path, number));
            }
        }
    }
    report(&broken);
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let lengths = sources().into_iter().map(|source| (source.text.lines().count(), source.path));
    let long = lengths.filter(|(lines, _)| *lines > MAX_LINES);
    let broken: Vec<_> = long.map(|(lines, path)| format!("{path}: {lines} lines, and {MAX_LINES} are the most")).collect();
    report(&broken);
}

#[test]
fn trees_of_imports_are_read_as_the_compiler_reads_them() {
    let read = |tree: &str| {
        let mut found = Vec::new();
        expand(tree, "", &mut found);
        found
    };
    assert_eq!(read("store::Message;"), ["store::Message"]);
    assert_eq!(read("{\n    a::b,\n    c::{self, d::*},\n};"), ["a::b", "c::self", "c::d::"]);
    assert_eq!(read("log::Running { stream_id, .. }"), ["log::Running"]);
    assert!(is_within("worker::ending::end", "worker::ending") && !is_within("worker::endings", "worker::ending"));
}
