//! What `ws doctor` prints.

use std::time::Duration;

use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(30);

/// Has letters that are written in another way in a URL.
const TOKEN: &str = "s3cret-part/token+with=letters";

/// What the program printed.
pub(crate) struct Diagnosis {
    pub(crate) text: String,
    pub(crate) code: i32,
}

/// Runs the program with a token.
pub(crate) async fn doctor(url: &str, args: &[&str]) -> Diagnosis {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    command.args(["doctor", url, "--token-env", "WS_TEST_TOKEN"]).args(args).env("WS_TEST_TOKEN", TOKEN);
    let ended = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = ended.expect("the program ends in time").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    for all in [&text, &stderr] {
        let parts = ["s3cret", "token+with", "letters", "czNjcmV0"];
        assert!(!parts.iter().any(|part| all.contains(part)), "the token is in the output:\n{all}");
        assert!(!all.contains('\u{1b}'), "there is a command for the terminal in the output:\n{all}");
    }
    assert_eq!(stderr, "");
    Diagnosis { text, code: output.status.code().unwrap() }
}

impl Diagnosis {
    /// Asserts that this step failed, with these words, this advice and this exit code.
    #[track_caller]
    pub(crate) fn fails(&self, step: &str, why: &str, advice: &str, code: i32) {
        let line = |begin: &str| self.text.lines().find(|line| line.starts_with(begin)).unwrap_or_default();
        let failed = line("FAILED");
        assert!(failed.split_whitespace().nth(1) == Some(step) && failed.contains(why), "{}", self.text);
        assert!(line(&format!("{step}: ")).contains(why), "{}", self.text);
        assert!(line("What to do: ").contains(advice), "{}", self.text);
        assert_eq!(self.code, code, "{}", self.text);
    }

    #[track_caller]
    pub(crate) fn shows(&self, lines: &[&str]) {
        for line in lines {
            let shown = self.text.lines().any(|shown| shown.trim() == *line);
            assert!(shown, "`{line}` is missing in\n{}", self.text);
        }
    }
}
