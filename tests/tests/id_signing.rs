//! What signing ids says to the log. Alone in its process: whether a line of the code is logged is remembered for all of its
//! threads, and another test that comes first would have it not.

use websockets_simple_server::IdSigning;
use websockets_simple_tests::captured::Captured;

#[test]
fn a_secret_of_the_start_comes_with_a_warning_and_no_other_does() {
    let log = Captured::everything();
    let _ = IdSigning::new("super-secret").previous("older-secret");
    assert_eq!(log.text(), "");
    let _ = IdSigning::random();
    let log = log.text();
    assert!(log.contains("WARN") && log.contains("does not outlive this process"), "{log}");
}
