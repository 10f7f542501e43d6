//! What a newcomer sees first. Needs root.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn the_demo_goes_as_it_should() {
    let dir = tempfile::tempdir().unwrap();
    // Alone, as `cargo run --bin hactl` leaves it in a fresh clone: no daemon beside it.
    let hactl = dir.path().join("hactl");
    std::fs::copy(env!("CARGO_BIN_EXE_hactl"), &hactl).unwrap();
    let output = Command::new(&hactl)
        .args(["lab", "demo"])
        .env("PATH", "")
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("Everything went as expected"), "{said}");
    std::fs::remove_file(hactl).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
