//! One trace over both ends.

use crate::program::Program;

#[tokio::test]
async fn the_handshake_is_part_of_the_trace_of_the_client_and_handlers_are_spans() {
    let ended = Program::start(env!("CARGO_BIN_EXE_traced"), &[]).end().await;
    assert!(ended.success, "{}", ended.stderr);
    let of = ["visit", "  ws.handshake channel=/room", "    ws.handler event=connecting"];
    assert!(ended.lines.windows(of.len()).any(|lines| lines == of), "{:?}", ended.lines);
    for line in
        ["heard: hello", "ws.handler event=connected channel=/room", "ws.handler event=message channel=/room"]
    {
        assert!(ended.lines.iter().any(|said| said == line), "no {line}: {:?}", ended.lines);
    }
}
