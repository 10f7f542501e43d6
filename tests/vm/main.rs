//! The daemon in two virtual machines with Debian's kernel, real DRBD and MariaDB, and a client on this side.
//!
//! Runs only when asked, as root: `tests/run vm`, or `HAD_VM='boots|links' tests/run vm` for the scenarios whose names contain
//! one of some texts. Machines are emulated unless `HAD_VM_ACCEL=kvm`, so nothing here depends on speed. The kernel and the root
//! image are made of downloaded packages and kept in `target/vm`, or `$HAD_VM_CACHE`. The logs of
//! each scenario are left in `target/tmp/vm-logs`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod apart;
mod base64;
mod client;
mod command;
mod files;
mod image;
mod initramfs;
mod machine;
mod network;
mod pair;
mod qmp;
mod rig;
mod scenarios;
mod steps;
mod suite;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok(wanted) = std::env::var("HAD_VM") else {
        // A test runner that asks for our tests must hear nothing.
        if !std::env::args().any(|word| word == "--list") {
            println!("boots virtual machines only when asked: tests/run vm");
        }
        return ExitCode::SUCCESS;
    };
    base64::holds_what_it_says();
    // From apart, nothing can be downloaded.
    let image = image::image();
    apart::go();
    suite::run(&wanted, &image)
}
