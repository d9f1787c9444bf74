//! An undisturbed install on a scratch machine, and what comes after it.

use crate::common::scratch::Scratch;

#[test]
fn an_install_from_end_to_end() {
    let machine = Scratch::new();
    let ended = machine.install(&["--yes"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(machine.boots(), ["rescue", "installer", "installed"]);
}
