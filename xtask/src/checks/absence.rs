//! The column "knows nothing of" of ARCHITECTURE.md is held against what crates depend on.
//!
//! Each of its words stands here with the crates that would bring what it names, and, where that is no crate, with the
//! names that the sources would use. A word that is not here says something that nobody checks, and is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Files;
use super::source;
use super::workspace::{Layer, Workspace};

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// What a crate does without if it knows nothing of a thing.
#[derive(Default)]
struct Meaning {
    /// Crates that it depends on neither directly nor by others.
    crates: &'static [&'static str],
    /// Crates that it does not name itself; another one may bring them.
    named: &'static [&'static str],
    /// Names that its sources don't hold.
    names: &'static [&'static str],
    /// The kinds of crates of the workspace that it does not depend on at all.
    layers: &'static [Layer],
}

const NOTHING: Meaning = Meaning { crates: &[], named: &[], names: &[], layers: &[] };

const ENGINES: &[&str] = &["isolate", "wasmtime"];
const STORES: &[&str] = &["rocksdb", "openraft", "txlog"];
const HTTP: &[&str] = &["axum", "hyper", "http", "tower-http"];

/// The words of the table.
const MEANINGS: &[(&str, Meaning)] = &[
    // Data.
    ("schemas", Meaning { crates: &["schema"], ..NOTHING }),
    ("tables", Meaning { crates: &["transaction"], names: &["TableName"], ..NOTHING }),
    ("documents", Meaning { crates: &["value", "contract", "transaction"], ..NOTHING }),
    ("stored documents", Meaning { crates: &["contract", "transaction", "txlog"], ..NOTHING }),
    ("transactions", Meaning { crates: &["transaction", "system-transaction"], ..NOTHING }),
    ("what they mean", Meaning { crates: &["value", "schema", "code", "transaction", "isolate"], ..NOTHING }),
    ("any limit", Meaning { layers: &[Layer::Library, Layer::Service, Layer::Binary], ..NOTHING }),
    // Storage.
    ("storage", Meaning { crates: STORES, ..NOTHING }),
    ("the store", Meaning { crates: STORES, ..NOTHING }),
    ("how the log stores things", Meaning { crates: STORES, ..NOTHING }),
    ("how timestamps are made", Meaning { crates: STORES, names: &["SystemTime"], ..NOTHING }),
    ("RocksDB", Meaning { crates: &["rocksdb", "librocksdb-sys"], ..NOTHING }),
    ("Raft", Meaning { crates: &["openraft"], ..NOTHING }),
    // Functions.
    ("functions", Meaning { crates: &["isolate", "wasmtime", "code", "system", "runner"], ..NOTHING }),
    ("functions' syscalls", Meaning { crates: &["runner", "system", "transaction"], ..NOTHING }),
    ("what they do", Meaning { crates: &["system", "code", "runner", "deploy"], ..NOTHING }),
    ("JavaScript", Meaning { crates: ENGINES, ..NOTHING }),
    ("engines", Meaning { crates: ENGINES, ..NOTHING }),
    ("bundles' texts", Meaning { crates: &["blob", "sourcemap"], names: &["BlobStore"], ..NOTHING }),
    ("pushes", Meaning { crates: &["deploy", "code"], ..NOTHING }),
    // The network.
    ("HTTP", Meaning { crates: HTTP, ..NOTHING }),
    ("HTTP servers", Meaning { crates: &["axum"], ..NOTHING }),
    ("gRPC", Meaning { crates: &["tonic", "prost", "proto", "rpc"], ..NOTHING }),
    ("WebSockets", Meaning { crates: &["tungstenite", "tokio-tungstenite", "sync-protocol"], ..NOTHING }),
    (
        "sockets",
        Meaning {
            crates: &["axum", "hyper", "tungstenite"],
            names: &["TcpStream", "TcpListener"],
            ..NOTHING
        },
    ),
    ("where spans are sent", Meaning { crates: &["opentelemetry-otlp", "tonic"], ..NOTHING }),
    ("the network", Meaning { crates: &["tokio", "hyper", "mio"], names: &["std::net"], ..NOTHING }),
    ("sessions", Meaning { crates: &["contract", "fanout", "gateway"], ..NOTHING }),
    (
        "tokens",
        Meaning {
            crates: &["sync-protocol", "auth"],
            // Everything that hashes has the first below it.
            named: &["subtle", "hkdf"],
            names: &["Bearer"],
            ..NOTHING
        },
    ),
    // Tasks and time.
    ("clocks", Meaning { names: &["Instant::now", "SystemTime", ".elapsed()"], ..NOTHING }),
    ("tasks", Meaning { named: &["tokio", "futures"], names: &["async fn", "spawn("], ..NOTHING }),
    // Other parts.
    (
        "the libraries they stand on",
        Meaning {
            // Not axum and tonic: the program serves what the services count, and what other nodes call.
            named: &["openraft", "rocksdb", "wasmtime", "hyper", "sync-protocol"],
            names: &["CatalogCache", "CursorKey"],
            ..NOTHING
        },
    ),
    ("what any service does", Meaning { layers: &[Layer::Service, Layer::Binary], ..NOTHING }),
    (
        "which implementation it is",
        Meaning { crates: &["rpc"], layers: &[Layer::Service, Layer::Binary], ..NOTHING },
    ),
];

pub fn problems(workspace: &Workspace, files: &Files) -> Vec<String> {
    let text = files.text(ARCHITECTURE).unwrap_or_default();
    let rows = rows(text);
    let mut problems = row_problems(workspace, text, &rows);
    problems.extend(meaning_problems(workspace, &rows));
    let meanings: BTreeMap<&str, &Meaning> =
        MEANINGS.iter().map(|(word, meaning)| (*word, meaning)).collect();
    let sources = source::of_product(files);
    for row in &rows {
        let Some(member) = workspace.members.iter().find(|member| member.name == row.name) else { continue };
        let folder = format!("{}/", member.folder.display());
        let of_root = files.text(&format!("{folder}src/lib.rs")).map(said_by_root).unwrap_or_default();
        let words: BTreeSet<&str> =
            row.words.iter().copied().chain(of_root.iter().map(String::as_str)).collect();
        for word in words {
            let Some(meaning) = meanings.get(word) else { continue };
            let brought = brought(workspace, row.name, meaning);
            problems.extend(brought.iter().map(|name| {
                format!("crate {} says that it knows nothing of {word}, and depends on {name}", row.name)
            }));
            for (path, lines) in sources.iter().filter(|(path, _)| path.starts_with(&folder)) {
                for (number, line) in lines {
                    for name in meaning.names.iter().filter(|name| line.contains(*name)) {
                        problems.push(format!(
                            "{path}:{number} says {name}, and crate {} that it knows nothing of {word}",
                            row.name
                        ));
                    }
                }
            }
        }
    }
    problems
}

/// What the documentation of a crate's root says that it knows nothing of. Words without a meaning here are of no
/// account: the sentence may say more than the table.
fn said_by_root(lib: &str) -> Vec<String> {
    let documentation: Vec<&str> =
        lib.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let documentation = documentation.join(" ");
    let sentences = documentation.split("knows nothing of ").skip(1);
    let lists = sentences.filter_map(|rest| rest.split(['.', ':']).next());
    let words = lists.flat_map(|list| list.split(", ")).flat_map(|part| part.split(" or "));
    words
        .map(|word| {
            word.trim_start_matches("or ").trim_start_matches("nor ").trim_start_matches("of ").to_string()
        })
        .collect()
}

/// Which of the crates that bring a thing a crate depends on.
fn brought<'w>(workspace: &'w Workspace, name: &str, meaning: &Meaning) -> BTreeSet<&'w str> {
    let closure = workspace.closure(name);
    let named = workspace.graph.get(name).into_iter().flatten().map(String::as_str);
    let in_layers = workspace.members.iter().filter(|member| meaning.layers.contains(&member.layer));
    let in_layers: BTreeSet<&str> =
        in_layers.map(|member| member.name.as_str()).filter(|other| *other != name).collect();
    closure
        .iter()
        .copied()
        .filter(|other| meaning.crates.contains(other) || in_layers.contains(other))
        .chain(named.filter(|other| meaning.named.contains(other)))
        .collect()
}

/// A row of one of the tables: `| name | what it is | what it knows nothing of |`.
struct Row<'t> {
    name: &'t str,
    /// The folder in the heading above: `crates`, `services`.
    folder: &'t str,
    words: Vec<&'t str>,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut folder = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let folder_named = heading.split('`').nth(1).and_then(|named| named.strip_suffix('/'));
            folder = folder_named.unwrap_or_default();
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, words] = cells[..] else { continue };
        let name = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        if let Some(name) = name.filter(|_| line.starts_with('|') && !folder.is_empty()) {
            let words = words.split([',', ';']).map(str::trim).filter(|word| !word.is_empty()).collect();
            rows.push(Row { name, folder, words });
        }
    }
    rows
}

/// Every crate has its row, and every row its crate; tools and the messages are at least named.
fn row_problems(workspace: &Workspace, text: &str, rows: &[Row<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in &workspace.members {
        let folder = member.folder.display().to_string();
        let has_row = match folder.split_once('/') {
            Some((top, _)) if member.layer != Layer::Tool => {
                rows.iter().any(|row| row.name == member.name && row.folder == top)
            }
            _ => text.contains(&format!("{folder}/")) || text.contains(&format!("{folder}`")),
        };
        if !has_row {
            problems.push(format!("{ARCHITECTURE} does not tell of the crate in {folder}"));
        }
    }
    for (at, row) in rows.iter().enumerate() {
        if !workspace.members.iter().any(|member| member.name == row.name) {
            problems.push(format!("{ARCHITECTURE} tells of {}, which is no crate", row.name));
        }
        if rows[..at].iter().any(|other| other.name == row.name) {
            problems.push(format!("{ARCHITECTURE} tells of {} twice", row.name));
        }
        if row.words.is_empty() {
            problems.push(format!("{ARCHITECTURE} does not say what {} knows nothing of", row.name));
        }
    }
    problems
}

/// Every word has a meaning, and every meaning is used and can be broken.
fn meaning_problems(workspace: &Workspace, rows: &[Row<'_>]) -> Vec<String> {
    let here = "xtask/src/checks/absence.rs";
    let used: BTreeSet<&str> = rows.iter().flat_map(|row| row.words.iter().copied()).collect();
    let mut problems = Vec::new();
    for word in &used {
        if !MEANINGS.iter().any(|(known, _)| known == word) {
            problems.push(format!("{here} does not know what it means to know nothing of {word}"));
        }
    }
    for (word, meaning) in MEANINGS {
        if !used.contains(word) {
            problems.push(format!("{here} explains {word}, which no row says"));
        }
        for name in meaning.crates.iter().chain(meaning.named) {
            if !workspace.graph.contains_key(*name) {
                problems.push(format!("{here} explains {word} by {name}, which nothing depends on"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::workspace::planted::workspace;
    use super::*;

    const TEXT: &str = "\
### `crates/`: libraries

| crate | is | knows nothing of |
|---|---|---|
| `value` | values | schemas |
| `tracked` | results | clocks, tasks |

### The rest

`xtask/` is what the Makefile calls.
";

    /// The problems but those about words that this short table does not use.
    fn found(workspace: &Workspace, files: &Files) -> Vec<String> {
        let own = "xtask/src/checks/absence.rs explains";
        problems(workspace, files).into_iter().filter(|problem| !problem.starts_with(own)).collect()
    }

    #[test]
    fn what_a_crate_brings_in_by_another_is_found() {
        let folders = ["crates/value", "crates/tracked", "xtask"];
        let graph: &[(&str, &[&str])] = &[
            ("value", &["serde"]),
            ("serde", &["schema"]),
            ("tracked", &["contract"]),
            ("contract", &["tokio"]),
        ];
        let files = Files::of(&[(ARCHITECTURE, TEXT)]);
        assert_eq!(
            found(&workspace(&folders, graph), &files),
            ["crate value says that it knows nothing of schemas, and depends on schema"]
        );
    }

    #[test]
    fn what_a_crate_names_itself_is_found_and_what_its_sources_say() {
        let folders = ["crates/value", "crates/tracked", "xtask"];
        let lib = "fn due() { Instant::now() }\n";
        let files = Files::of(&[(ARCHITECTURE, TEXT), ("crates/tracked/src/lib.rs", lib)]);
        assert_eq!(
            found(&workspace(&folders, &[("tracked", &["tokio"])]), &files),
            [
                "crates/tracked/src/lib.rs:1 says Instant::now, and crate tracked that it knows nothing of clocks",
                "crate tracked says that it knows nothing of tasks, and depends on tokio"
            ]
        );
    }

    #[test]
    fn what_a_crate_says_of_itself_is_held_as_well() {
        let folders = ["crates/value", "crates/tracked", "xtask"];
        let lib = "//! Values.\n//!\n//! This crate knows nothing of schemas, of good manners or\n//! Raft.\nmod json;\n";
        let files = Files::of(&[(ARCHITECTURE, TEXT), ("crates/value/src/lib.rs", lib)]);
        assert_eq!(
            found(&workspace(&folders, &[("value", &["openraft"])]), &files),
            ["crate value says that it knows nothing of Raft, and depends on openraft"]
        );
    }

    #[test]
    fn crates_and_rows_belong_together_and_every_word_has_a_meaning() {
        let text = TEXT.replace("schemas", "good manners");
        let files = Files::of(&[(ARCHITECTURE, &text)]);
        let folders = ["crates/value", "crates/schema", "services/tracked", "bench/start", "xtask"];
        assert_eq!(
            found(&workspace(&folders, &[]), &files),
            [
                "ARCHITECTURE.md does not tell of the crate in crates/schema",
                "ARCHITECTURE.md does not tell of the crate in services/tracked",
                "ARCHITECTURE.md does not tell of the crate in bench/start",
                "xtask/src/checks/absence.rs does not know what it means to know nothing of good manners"
            ]
        );
    }
}
