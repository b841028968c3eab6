//! Uploads.

use std::{process::Stdio, time::Duration};

use tokio::io::AsyncWriteExt;

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_upload_of_any_size_is_counted_and_hashed_and_one_beyond_the_limit_is_refused() {
    let program = env!("CARGO_BIN_EXE_uploads");
    let mut server = Program::start(program, &["--listen", "127.0.0.1:0", "--limit", "3000000"]);
    let url = format!("ws://{}", server.address().await);
    for (bytes, sha256) in [
        // printf '' | sha256sum, head -c 100 /dev/zero | sha256sum, ..
        (0, Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
        (100, Some("cd00e292c5970d3c5e2f0ffa5171e555bc46bfc4faddfb4a418b6840b86e79a3")),
        (3_000_000, Some("35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f")),
        (3_000_001, None),
    ] {
        let mut sender = tokio::process::Command::new(program)
            .args(["--send", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = sender.stdin.take().unwrap();
        // It may stop reading where the server refuses.
        let _ = input.write_all(&vec![0; bytes]).await;
        drop(input);
        let output =
            tokio::time::timeout(PATIENCE, sender.wait_with_output()).await.expect("it ends").unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        match sha256 {
            Some(sha256) => assert_eq!(said, format!("{{\"bytes\":{bytes},\"sha256\":\"{sha256}\"}}\n")),
            None => assert_eq!((said.as_str(), output.status.success()), ("", false)),
        }
    }
}
