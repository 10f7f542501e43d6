//! Chaos: random faults done to real daemons in a lab, with a client that pings throughout. Checked from outside.
//!
//! `tests/run chaos` takes half an hour. It prints its seed; `HAD_CHAOS_SEED` gives the same plan again,
//! `HAD_CHAOS_SECONDS` another length, `HAD_CHAOS_CLASS` one of the classes only. Without any of them this is a short run
//! with a fixed seed. Needs root and `/dev/net/tun`.
//!
//! What must hold:
//! * no address on two nodes, sampled every 10 ms (`timeline.rs` has the one exception), and no script started while it runs elsewhere;
//! * daemons end only when told to, answer `hactl status`, and have no busy loop or leak;
//! * generations never decrease, and a group never runs with a term that it had elsewhere;
//! * after the faults end, every group runs once and answers, and the gateway and the client reach it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod calls;
mod class;
mod cluster;
mod evidence;
mod outage;
mod plan;
mod random;
mod run;
mod settle;
mod step;
mod timeline;
mod watch;

use class::ChaosClass;

fn chaos(class: &'static ChaosClass) {
    let chosen = std::env::var("HAD_CHAOS_CLASS").unwrap_or_default();
    if !chosen.is_empty() && chosen != class.name {
        assert!(
            ["pair", "trio", "off"].contains(&chosen.as_str()),
            "HAD_CHAOS_CLASS is pair, trio or off"
        );
        println!("{}: not run, HAD_CHAOS_CLASS={chosen}", class.name);
        return;
    }
    run::run(class);
}

#[test]
fn two_nodes_and_a_gateway() {
    chaos(&class::PAIR);
}

#[test]
fn three_nodes() {
    chaos(&class::TRIO);
}

#[test]
fn two_nodes_that_count_no_votes() {
    chaos(&class::OFF);
}
