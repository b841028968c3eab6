//! The extended packet.

use crate::program::Program;

#[tokio::test]
async fn the_extended_packet_travels_as_the_dotnet_library_writes_it() {
    let ended = Program::start(env!("CARGO_BIN_EXE_extended-packet"), &[]).end().await;
    assert!(ended.success, "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    let output = ended.lines.join("\n");
    assert_eq!(output, include_str!("extended-packet.txt").trim_end());
    // What the output was made of, so that the expectation cannot drift along with the program.
    assert!(output.contains(concat!(
        r#"client sends  {"Data":"YourDataPayload","Timestamp":"2022-03-05T19:42:01.6305503Z","#,
        r#""PacketExtendedType":0,"Username":null,"FirstName":"FakeFirstName","LastName":"FakeLastName"}"#
    )));
}
