//! What is promised of each kind of cluster, and under which faults: a class of random runs for each promise.

use std::time::Duration;

use crate::chaos::Faults;
use crate::swarm::{Class, swarm};
use crate::*;
use had::model::cluster::{QuorumPolicy, Step};
use had::sim::Random;

fn step(addresses: bool, removal: Duration) -> Step {
    Step {
        members: vec![if addresses { "10.0.0.1" } else { "script" }.to_owned()],
        addresses,
        start: secs(60),
        stop: secs(60),
        monitor: secs(20),
        removal,
    }
}

fn address(_: &mut Random) -> Vec<Step> {
    vec![step(true, Duration::ZERO)]
}

/// Scripts, with an address among them or without.
fn scripts(random: &mut Random) -> Vec<Step> {
    let script = || step(false, ms(300));
    match random.below(3) {
        0 => vec![script(), script()],
        1 => vec![step(true, Duration::ZERO), script()],
        _ => vec![script(), step(true, Duration::ZERO)],
    }
}

fn all_faults() -> Faults {
    Faults {
        cuts: true,
        crash: true,
        lost_store: true,
        kill: true,
        freeze: true,
        weather: true,
        commands: true,
        leave: true,
        failing_starts: true,
        ..Faults::default()
    }
}

#[test]
fn a_majority_of_nodes_never_runs_an_address_twice() {
    let class = Class {
        name: "majority",
        nodes: 3,
        more_nodes: 2,
        pings: 0,
        quorum: QuorumPolicy::Stop,
        steps: address,
        kernel_leases: true,
        faults: all_faults(),
    };
    swarm(&class, 40);
}

#[test]
fn three_nodes_and_a_gateway_never_run_an_address_twice() {
    let class = Class {
        name: "three and gateway",
        nodes: 3,
        more_nodes: 0,
        pings: 1,
        quorum: QuorumPolicy::Stop,
        steps: address,
        kernel_leases: true,
        faults: Faults {
            blindness: true,
            // One that left lowers the total: what is left then is two nodes and a gateway, and promises no more.
            leave: false,
            ..all_faults()
        },
    };
    swarm(&class, 40);
}

#[test]
fn the_probe_alone_holds_back_where_the_kernel_keeps_addresses() {
    let class = Class {
        name: "majority, kernels keep addresses",
        nodes: 3,
        more_nodes: 2,
        pings: 0,
        quorum: QuorumPolicy::Stop,
        steps: address,
        kernel_leases: false,
        faults: Faults {
            cuts: false,
            blocks: true,
            maintenance: true,
            ..all_faults()
        },
    };
    swarm(&class, 40);
}

#[test]
fn a_majority_never_runs_scripts_twice_when_their_removal_is_waited_for() {
    let class = Class {
        name: "majority, scripts",
        nodes: 3,
        more_nodes: 2,
        pings: 0,
        quorum: QuorumPolicy::Stop,
        steps: scripts,
        kernel_leases: false,
        faults: Faults {
            kill: false,
            freeze: false,
            slow_stops: Some(ms(250)),
            ..all_faults()
        },
    };
    swarm(&class, 40);
}

#[test]
fn failing_stops_are_never_taken_for_stopped() {
    let class = Class {
        name: "failing stops",
        nodes: 2,
        more_nodes: 2,
        pings: 0,
        quorum: QuorumPolicy::Off,
        steps: scripts,
        kernel_leases: false,
        faults: Faults {
            commands: true,
            leave: false,
            failing_starts: true,
            failing_stops: true,
            slow_stops: Some(secs(40)),
            ..Faults::default()
        },
    };
    swarm(&class, 40);
}

#[test]
fn two_nodes_and_a_gateway_bear_clean_cuts() {
    let class = Class {
        name: "two and gateway",
        nodes: 2,
        more_nodes: 0,
        pings: 1,
        quorum: QuorumPolicy::Stop,
        steps: address,
        kernel_leases: true,
        faults: Faults {
            isolation: true,
            crash: true,
            kill: true,
            freeze: true,
            commands: true,
            leave: true,
            failing_starts: true,
            quiet: Some(secs(4)),
            ..Faults::default()
        },
    };
    swarm(&class, 40);
}

/// Not promised: two nodes that are parted before either has the group, and start it within the same round of probes,
/// find nothing on the wire yet (about one run in two thousand; seed 20437 is one).
#[test]
fn two_nodes_without_quorum_never_run_an_address_twice_while_the_probe_reaches() {
    let class = Class {
        name: "two, quorum off",
        nodes: 2,
        more_nodes: 0,
        pings: 0,
        quorum: QuorumPolicy::Off,
        steps: address,
        kernel_leases: false,
        faults: Faults {
            cuts: false,
            blocks: true,
            maintenance: true,
            ..all_faults()
        },
    };
    swarm(&class, 40);
}
