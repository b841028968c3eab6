//! Examples of the documentation, copied into an application that depends on the two libraries.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The crates whose documentation users of the two libraries read: items of core are shown in that of both.
const CRATES: [&str; 3] = ["websockets-simple-server", "websockets-simple-client", "websockets-simple-core"];

/// What an application has beside the two libraries. Nothing else is needed: `chrono` and `async_trait` are re-exported.
const DEPENDENCIES: &str = r#"
axum = { version = "0.8", default-features = false, features = ["http1", "tokio"] }
futures-util = { version = "0.3", default-features = false, features = ["sink"] }
http = "1"
http-body-util = "0.1"
hyper = { version = "1", default-features = false, features = ["http1", "server"] }
hyper-util = { version = "0.1", default-features = false, features = ["tokio"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
tokio = { version = "1", default-features = false, features = ["macros", "net", "rt-multi-thread", "time"] }
tracing = "0.1"
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One example, as its reader copies it.
struct Example {
    place: String,
    code: String,
}

/// All source files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The text of a line of documentation.
fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// A line of an example without the sign that hides it. Readers do not see such lines, and write their like themselves: a
/// function around the code, or its result. `None` for the line by which core's examples name another crate.
fn shown(line: &str) -> Option<&str> {
    if line.starts_with("# extern crate") {
        return None;
    }
    let trimmed = line.trim_start();
    Some(if trimmed == "#" { "" } else { trimmed.strip_prefix("# ").unwrap_or(line) })
}

fn examples_of(path: &Path) -> Vec<Example> {
    let text = fs::read_to_string(path).unwrap();
    let (mut examples, mut begun) = (Vec::new(), None);
    for (at, line) in text.lines().enumerate() {
        let Some(line) = documentation(line) else {
            assert!(begun.is_none(), "{}: an example without an end", path.display());
            continue;
        };
        match (line.trim_start().strip_prefix("```"), &mut begun) {
            (Some("" | "no_run"), None) => {
                let place = path.strip_prefix(root()).unwrap().display();
                begun = Some((true, Example { place: format!("{place}:{}", at + 1), code: String::new() }));
            }
            // A picture.
            (Some(_), None) => begun = Some((false, Example { place: String::new(), code: String::new() })),
            (Some(_), Some(_)) => {
                examples.extend(begun.take().filter(|(is_code, _)| *is_code).map(|(_, example)| example));
            }
            (None, Some((_, example))) => {
                if let Some(line) = shown(line) {
                    writeln!(example.code, "{line}").unwrap();
                }
            }
            (None, None) => {}
        }
    }
    examples
}

fn examples() -> Vec<Example> {
    let mut files = Vec::new();
    CRATES.iter().for_each(|name| sources(&root().join(name).join("src"), &mut files));
    files.sort();
    files.iter().flat_map(|path| examples_of(path)).collect()
}

/// The example as a module of a crate.
fn module(number: usize, Example { place, code }: &Example) -> String {
    // As rustdoc does.
    let code = if code.contains("fn main(") {
        code.clone()
    } else if code.trim_end().ends_with("(())") {
        format!("pub fn example() -> Result<(), impl std::fmt::Debug> {{\n{code}}}")
    } else {
        format!("pub fn example() {{\n{code}}}")
    };
    format!("/// {place}\npub mod example_{number} {{\n{code}\n}}\n")
}

/// A new application with the two libraries.
fn application(name: &str, code: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let root = root();
    let root = root.display();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n\n\
         [dependencies]\n\
         websockets-simple-client = {{ path = \"{root}/websockets-simple-client\", features = [\"pkcs12\", \"metrics\", \
         \"deflate\", \"proxy\", \"test-util\"] }}\n\
         websockets-simple-server = {{ path = \"{root}/websockets-simple-server\", features = [\"axum\", \"metrics\", \
         \"deflate\", \"http2\", \"introspection\", \"jwks\", \"nats\", \"pkcs12\", \"redis\", \"sqlx\", \
         \"test-util\"] }}\n{DEPENDENCIES}"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The versions that were built already: nothing is downloaded.
    fs::copy(format!("{root}/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    fs::write(folder.join("src/lib.rs"), format!("#![allow(unused, missing_docs)]\n{code}")).unwrap();
    folder
}

/// Compiles an application, with the artifacts of the workspace where they are the same.
fn check(application: &Path) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline", "--lib", "--color", "never"])
        .current_dir(application)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap()
}

#[test]
fn every_example_compiles_in_an_application_with_the_two_libraries() {
    let examples = examples();
    assert!(examples.len() > 50, "only {} examples were found", examples.len());
    for Example { place, code } in &examples {
        assert!(
            !code.contains("websockets_simple_core"),
            "{place}: a crate that the reader does not depend on"
        );
    }
    let modules: String =
        examples.iter().enumerate().map(|(number, example)| module(number, example)).collect();
    let checked = check(&application("copied-examples", &modules));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_compiler_says_how_a_value_is_sent_that_is_no_message() {
    let code = r#"
        use websockets_simple_server::{Anonymous, Connection};
        #[derive(serde::Serialize)]
        struct Quote { price: f64 }
        async fn example(connection: Connection<Anonymous>) {
            let quote = Quote { price: 12.5 };
            let _ = connection.send(&quote).await;
            let _ = connection.to_channel().send(serde_json::json!({ "price": 12.5 }));
        }
    "#;
    let checked = check(&application("copied-mistakes", code));
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success());
    for said in ["`&Quote` cannot be sent as it is", "`Value` cannot be sent as it is"] {
        assert!(errors.contains(said), "{errors}");
    }
    assert_eq!(errors.matches("in the wrapper `Json`: `Json(&value)`").count(), 2, "{errors}");
}
