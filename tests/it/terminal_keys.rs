//! The client at a terminal, and keys that are out of the ordinary.

use crate::support::{Peer, TestServer, Tmux};

#[test]
fn a_message_to_nobody_is_for_nobody() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.line("/msg \"\" a secret");
    alex.wait_for("/msg NAME TEXT: say what to whom?");
    alex.keys(&["C-c"]);
    alex.line("hello");
    let heard = aske.until("the line", |e| e.text == "hello");
    assert!(heard.iter().all(|e| e.text != "a secret"), "{heard:#?}");
}
