//! The SQL of the shared store, held to what CockroachDB accepts: every statement is heard on its way to the database.
//!
//! docs/cockroachdb.md says of each of these words where CockroachDB's documentation has it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use persona_community::{
    id::OutboxId,
    store::{HistoryStore as _, OutboxStore as _, PersonaFilter, PersonaStore as _, PostgresStore, Store, UsageFilter, UsageKeys, UsageStore as _},
    usage::Day,
};

use crate::{
    queue_plans::do_everything,
    support::{
        pgwire::Proxy,
        postgres::{Database, config},
    },
};

/// Functions of both engines.
const FUNCTIONS: [&str; 17] = [
    "any",
    "array_agg",
    "clock_timestamp",
    "coalesce",
    "count",
    "extract",
    "generate_series",
    "greatest",
    "jsonb_build_array",
    "jsonb_build_object",
    "least",
    "max",
    "min",
    "now",
    "sum",
    "unnest",
    "version",
];

/// Types of the same meaning on both engines: an INT of CockroachDB has eight bytes, so none is written without its size.
const TYPES: [&str; 6] = ["bytea", "int4", "int8", "text", "uuid", "timestamptz"];

/// What CockroachDB doesn't have, or takes without doing it.
const REFUSED: [&str; 18] = [
    "advisory",
    "bigserial",
    "fillfactor",
    "include",
    "integer",
    "listen",
    "lock table",
    "merge",
    "nextval",
    "notify",
    "only",
    "sequence",
    "serial",
    "share",
    "tablesample",
    "temporary",
    "trigger",
    "truncate",
];

/// A statement in lower case, without what stands in quotes and comments.
fn bare(sql: &str) -> String {
    let lines: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let joined = lines.join(" ").to_lowercase();
    joined.split('\'').step_by(2).collect::<Vec<_>>().join(" ")
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// What is wrong with a statement.
fn faults(sql: &str) -> Vec<String> {
    let (bare, mut faults) = (bare(sql), Vec::new());
    let spaced = format!(" {} ", bare.split(|char: char| !is_word(char)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
    faults.extend(REFUSED.iter().filter(|word| spaced.contains(&format!(" {word} "))).map(|word| format!("has {word}")));
    // A function's parenthesis follows at once; all others stand apart.
    for (at, _) in bare.match_indices('(') {
        let name = bare[..at].rsplit(|char| !is_word(char)).next().unwrap_or_default();
        if !name.is_empty() && !FUNCTIONS.contains(&name) {
            faults.push(format!("calls {name}"));
        }
    }
    for (at, _) in bare.match_indices("::") {
        let name = bare[at + 2..].split(|char| !is_word(char)).next().unwrap_or_default();
        if !TYPES.contains(&name) {
            faults.push(format!("casts to {name}"));
        }
    }
    if bare.contains("do update") && !bare.contains("on conflict (") {
        faults.push("updates on a conflict that it doesn't name".into());
    }
    let writes: Vec<&str> = ["insert into ", "update ", "delete from "]
        .into_iter()
        .flat_map(|verb| bare.match_indices(verb).map(move |(at, _)| at + verb.len()).collect::<Vec<_>>())
        .map(|at| bare[at..].split(|char| !is_word(char)).next().unwrap_or_default())
        .filter(|table| !matches!(*table, "set" | "skip" | ""))
        .collect();
    if writes.iter().collect::<BTreeSet<_>>().len() < writes.len() {
        faults.push(format!("writes a table twice: {writes:?}"));
    }
    faults
}

#[test]
fn what_cockroachdb_refuses_is_noticed() {
    for (wrong, says) in [
        ("select pg_advisory_lock(1)", "calls pg_advisory_lock"),
        ("listen jobs", "has listen"),
        ("create table x (id bigserial)", "has bigserial"),
        ("select $1::integer", "casts to integer"),
        ("insert into x values ($1) on conflict do update set y = 1", "conflict that it doesn't name"),
        ("with a as (delete from x returning id) insert into x select * from a", "writes a table twice"),
    ] {
        assert!(faults(wrong).iter().any(|fault| fault.contains(says)), "{wrong}: {:?}", faults(wrong));
    }
    assert_eq!(faults("select 'nextval(' || count(*) from x -- serial"), Vec::<String>::new());
}

/// Has every statement sent that is not the queue's.
async fn do_the_rest(store: &PostgresStore) {
    let (channel, second) = ("channel:general".parse().unwrap(), Duration::from_secs(1));
    store.accept(crate::postgres::request("hello", Some("hello"))).await.unwrap();
    store.accept(crate::postgres::request("hello", Some("hello"))).await.unwrap();
    let newest = store.messages(&channel, None, 10).await.unwrap();
    store.messages(&channel, Some(newest.messages[0].id), 10).await.unwrap();
    store.next_channel(None).await.unwrap();
    store.prune_messages(&channel, second, 10).await.unwrap();
    store.unpublished(Duration::ZERO, 10).await.unwrap();
    store.unpublished_one(OutboxId::new()).await.unwrap();
    store.forget_published(vec![OutboxId::new()]).await.unwrap();
    store.forget_keys(second).await.unwrap();
    let persona = store.personas(PersonaFilter { limit: 1, ..PersonaFilter::default() }).await.unwrap().remove(0);
    store.personas(PersonaFilter { channel: Some(channel), limit: 1, ..PersonaFilter::default() }).await.unwrap();
    store.persona(&persona.id).await.unwrap();
    store.put_persona(persona.clone()).await.unwrap();
    store.delete_persona(&persona.id).await.unwrap();
    for user in [Some("ada".parse().unwrap()), None] {
        let (first, last) = (Day::today(), Day::today());
        store.usage(UsageFilter { user, first, last, by: UsageKeys::default(), skip: 0, limit: 1 }).await.unwrap();
    }
    store.check().await.unwrap();
}

#[tokio::test]
async fn the_store_sends_nothing_that_cockroachdb_refuses() {
    // On an empty database, so that the migrations are heard as well.
    let database = Database::empty();
    let proxy = Proxy::start(database.address()).await;
    let store = PostgresStore::open(&config(&proxy.url(&database.url))).await.unwrap();
    do_everything(&store).await;
    do_the_rest(&store).await;
    store.close().await;
    // This one is sent to PostgreSQL alone.
    let heard: BTreeSet<String> = proxy.heard().into_iter().filter(|sql| !sql.contains("enable_seqscan")).collect();
    assert!(heard.len() > 80, "only {} statements were heard", heard.len());
    let wrong: Vec<_> = heard.iter().map(|sql| (sql, faults(sql))).filter(|(_, faults)| !faults.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The statements that stand in constants, as `file::NAME`.
fn constants(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            constants(&entry, found);
            continue;
        }
        let (text, file) = (std::fs::read_to_string(&entry).unwrap(), entry.file_stem().unwrap().to_str().unwrap().to_owned());
        for (name, value) in text.split("const ").skip(1).filter_map(|rest| rest.split_once(": &str =")) {
            // What begins with none of these is a name and no statement.
            let is_statement = ["\"select", "\"insert", "\"update", "\"delete", "\"with", "concat!", "sums!"]
                .iter()
                .any(|word| value.trim_start().starts_with(word));
            if is_statement {
                found.push(format!("`{file}::{name}`"));
            }
        }
    }
}

#[test]
fn the_page_about_cockroachdb_names_every_statement() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/cockroachdb.md")).unwrap();
    let mut found = Vec::new();
    constants(&root.join("src/store/postgres"), &mut found);
    assert!(found.len() > 80, "only {} constants were found", found.len());
    let missing: Vec<_> = found.iter().filter(|name| !page.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let named =
        page.split('`').filter(|word| word.contains("::") && word.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b':' | b'_')));
    let gone: Vec<_> = named.filter(|name| !found.contains(&format!("`{name}`"))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
