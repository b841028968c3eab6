//! The rules of the house that a machine can check: who may name whom, how long files are, how errors are worded.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lines beyond which a file has to be split.
const MOST_LINES: usize = 450;

/// Words that an error text can do without: each stands for something that has a name.
const RIDDLES: [&str; 6] = ["anybody", "nobody", "somebody", "whoever", "whom", "whose"];

/// The folders of a crate from the top floor to the bottom one. A folder names those of its own floor and below; what
/// it names above stands in `ties`, for the reasons that ARCHITECTURE.md gives.
struct House {
    source: &'static str,
    floors: &'static [&'static [&'static str]],
    ties: &'static [(&'static str, &'static str)],
}

const HOUSES: [House; 3] = [
    House {
        source: "websockets-simple-core/src",
        floors: &[
            &["test_util"],
            &["connection"],
            &["outbox"],
            &["message"],
            &["events"],
            &["dotnet"],
            &["protocol"],
            &["token", "tls", "compatibility", "transport", "reconnect", "figures"],
        ],
        ties: &[],
    },
    House {
        source: "websockets-simple-client/src",
        floors: &[&["client", "test_util"], &["connection"], &["event"], &["dial"], &["config"], &["error"]],
        ties: &[
            // A client's parameters are checked against what can be dialled, and its events carry its connection.
            ("event", "connection"),
            ("error", "config"),
        ],
    },
    House {
        source: "websockets-simple-server/src",
        floors: &[
            &["server", "http", "test_util"],
            &["run"],
            &["snapshot"],
            &["connection"],
            &["handshake"],
            &["signals"],
            &["addressing"],
            &["cluster"],
            &["users"],
            &["config"],
            &["figures", "net"],
        ],
        ties: &[
            // `Connection::server` gives a handle of the server.
            ("connection", "server"),
            // `Shared` holds what all connections and tasks of a server use.
            ("connection", "run"),
            ("handshake", "run"),
            ("addressing", "run"),
            // The handle of a connection is what the registry holds and what signals and events carry.
            ("handshake", "connection"),
            ("signals", "connection"),
            ("addressing", "connection"),
        ],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All source files below a folder, with their paths relative to it.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let (folder, mut found) = (root().join(folder), Vec::new());
    walk(&folder, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&folder).unwrap().to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

/// The code of a file without comments and inline tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segments of all paths that begin with `crate::`, also those in braces behind it.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut named = BTreeSet::new();
    for (at, begun) in code.match_indices("crate::") {
        // Not `websockets_simple_core::..` and not `$crate::..`.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + begun.len()..];
        let Some(tree) = rest.strip_prefix('{') else {
            named.insert(word(rest));
            continue;
        };
        let (mut depth, mut begins) = (1, true);
        for (at, c) in tree.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                _ if depth == 1 && begins && !c.is_whitespace() => {
                    named.insert(word(&tree[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

#[test]
fn no_folder_names_one_of_a_floor_above_it_but_for_the_ties_that_are_listed() {
    for House { source, floors, ties } in &HOUSES {
        let floor = |folder: &str| floors.iter().position(|floor| floor.contains(&folder));
        let mut found = BTreeSet::new();
        for (path, text) in sources(source) {
            let first = path.iter().next().unwrap().to_str().unwrap();
            let folder = first.trim_end_matches(".rs");
            if folder == "lib" || is_test(&path) {
                continue;
            }
            let own = floor(folder).unwrap_or_else(|| panic!("{source}: `{folder}` has no floor"));
            for other in named(&code(&text)) {
                let other_floor = floor(&other).unwrap_or_else(|| {
                    // A name that is imported from the root hides the floor that it belongs to.
                    panic!("{source}/{}: import `{other}` from the folder that defines it", path.display())
                });
                if other_floor < own {
                    let tie = (folder.to_owned(), other.clone());
                    let is_listed = ties.contains(&(folder, &other));
                    assert!(is_listed, "{source}/{}: names `crate::{other}`, a floor above", path.display());
                    found.insert(tie);
                }
            }
        }
        for (from, to) in *ties {
            let tie = ((*from).to_owned(), (*to).to_owned());
            assert!(
                found.contains(&tie),
                "{source}: `{from}` no longer names `{to}`: take the tie off the list"
            );
        }
    }
}

#[test]
fn the_lowest_floors_have_no_ties() {
    for (source, folders) in [
        ("websockets-simple-server/src", ["net", "config", "users"].as_slice()),
        ("websockets-simple-core/src", ["protocol"].as_slice()),
    ] {
        let house = HOUSES.iter().find(|house| house.source == source).unwrap();
        for folder in folders {
            assert!(house.ties.iter().all(|(from, _)| from != folder), "{source}/{folder}");
        }
    }
}

#[test]
fn no_file_is_longer_than_450_lines() {
    for House { source, .. } in &HOUSES {
        for (path, text) in sources(source) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{source}/{}: {lines} lines, split it", path.display());
        }
    }
}

#[test]
fn error_texts_name_things() {
    for House { source, .. } in &HOUSES {
        for (path, text) in sources(source) {
            if is_test(&path) {
                continue;
            }
            let texts = ["#[error(\"", "EventError::new(\"", "io::Error::other(\"", "Missing(\""];
            for (at, line) in code(&text).lines().enumerate() {
                let Some(begun) = texts.iter().find_map(|begun| line.split_once(begun)) else { continue };
                let error = begun.1.to_ascii_lowercase();
                let mut words = error.split(|c: char| !c.is_alphanumeric());
                let riddle = words.find(|word| RIDDLES.contains(word));
                assert_eq!(riddle, None, "{source}/{}, code line {}: {line}", path.display(), at + 1);
            }
        }
    }
}

#[test]
fn no_document_refers_to_its_module_instead_of_saying_something() {
    for House { source, .. } in &HOUSES {
        for (path, text) in sources(source) {
            assert!(!text.contains("See the module."), "{source}/{}", path.display());
        }
    }
}

#[test]
fn paths_are_found_in_braces_too_and_the_names_below_them_are_not() {
    let code = "use crate::{\n    net::{Peer, tls},\n    users::Identity,\n};\nfn f() -> crate::run::Shared {}\n\
                use websockets_simple_core::Message;\n$crate::Handler";
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), ["net", "run", "users"]);
}
