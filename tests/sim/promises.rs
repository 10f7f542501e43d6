//! The promises for each kind of cluster, and the faults under which they hold: a class of random runs for each.

use std::time::Duration;

use crate::swarm::{SwarmClass, swarm};
use crate::*;
use had::model::cluster::{GroupSpec, PingNode, QuorumPolicy, Step, Timeouts};
use had::model::fencing::Fencing;
use had::model::health::{CheckPolicy, Health, Policy};
use had::model::{GroupName, LinkName, NodeName};
use had::sim::{ClusterSetup, FaultKind, FaultProfile, MachineCondition, Random};

const NODES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
/// Runs of a class, unless `HAD_SWARM_RUNS` is set.
const FEW: u64 = 10;

/// The parameters of a class of clusters.
struct ClassShape {
    nodes: u64,
    more_nodes: u64,
    pings: usize,
    links: usize,
    quorum: QuorumPolicy,
    steps: fn(&mut Random) -> Vec<Step>,
    kernel_leases: bool,
}

const MAJORITY: ClassShape = ClassShape {
    nodes: 3,
    more_nodes: 2,
    pings: 0,
    links: 1,
    quorum: QuorumPolicy::Stop,
    steps: address,
    kernel_leases: true,
};

fn setup(shape: &ClassShape, random: &mut Random) -> ClusterSetup {
    let many = shape.nodes + random.below(shape.more_nodes + 1);
    let names = NODES.get(..usize::try_from(many).unwrap()).unwrap();
    let mut cluster = World::new(names).cluster;
    let link = |n| LinkName::new(&format!("eth{n}"));
    cluster.links = (0..shape.links).map(link).collect();
    for ping in 0..shape.pings {
        let name = format!("gateway{ping}");
        let addresses = Vec::new();
        cluster.pings.push(PingNode { name, addresses });
    }
    cluster.relay = many == 2 && shape.pings > 0;
    cluster.quorum = shape.quorum;
    for group in ["g1", "g2"]
        .iter()
        .take(1 + usize::from(random.chance(400)))
    {
        cluster.groups.push(GroupSpec {
            name: GroupName::new(group),
            preferred: NodeName::new(random.pick(names).unwrap()),
            steps: (shape.steps)(random),
        });
    }
    cluster.auto_failback = random.chance(300);
    cluster.follow_connectivity = random.chance(300);
    let mut setup = ClusterSetup::new(cluster);
    setup.kernel_leases = shape.kernel_leases;
    for name in names {
        let condition = MachineCondition {
            clock: secs(1 + random.below(1000)),
            ppm: i32::try_from(random.below(1001)).unwrap() - 500,
            late: ms(*random.pick(&[0, 0, 5, 100]).unwrap()),
        };
        setup.machines.insert(NodeName::new(name), condition);
    }
    setup
}

fn step(addresses: bool, removal: Duration) -> Step {
    let member = if addresses { "10.0.0.1" } else { "script" };
    Step {
        removal,
        ..Step::new(vec![member.to_owned()], addresses, Timeouts::default())
    }
}

fn address(_: &mut Random) -> Vec<Step> {
    vec![step(true, Duration::ZERO)]
}

/// Scripts, with or without an address.
fn scripts(random: &mut Random) -> Vec<Step> {
    let script = || step(false, ms(300));
    match random.below(3) {
        0 => vec![script(), script()],
        1 => vec![step(true, Duration::ZERO), script()],
        _ => vec![script(), step(true, Duration::ZERO)],
    }
}

/// Storage that two nodes can open at once, with or without an address.
fn storage(random: &mut Random) -> Vec<Step> {
    let mut steps = scripts(random);
    for step in steps.iter_mut().filter(|s| !s.addresses) {
        (step.shared_storage, step.stop, step.removal) = (true, secs(3), secs(3));
    }
    steps
}

const ON_STORAGE: ClassShape = ClassShape {
    more_nodes: 0,
    steps: storage,
    ..MAJORITY
};

/// The same with deadlines of seconds, so that a hang does not take long.
fn impatient(random: &mut Random) -> Vec<Step> {
    let mut steps = scripts(random);
    for step in &mut steps {
        (step.start, step.stop, step.monitor) = (secs(5), secs(4), secs(2));
    }
    steps
}

/// The same, each monitored, with one or two restarts in place before it fails.
fn monitored(random: &mut Random) -> Vec<Step> {
    let mut steps = impatient(random);
    for step in &mut steps {
        step.policy = random.chance(800).then(|| Policy {
            fall: *random.pick(&[1, 1, 2, 3]).unwrap(),
            rise: *random.pick(&[1, 1, 2]).unwrap(),
            restart: *random.pick(&[0, 1, 2, 3]).unwrap(),
            within: secs(*random.pick(&[5, 30, 600]).unwrap()),
        });
    }
    steps
}

/// One or two checks of every node, perhaps for one group alone, and perhaps one that must pass before a failback.
fn checked(random: &mut Random, groups: &[GroupSpec]) -> Health {
    let check = |name: &&str, random: &mut Random| CheckPolicy {
        name: (*name).to_owned(),
        fall: *random.pick(&[1, 2, 3]).unwrap(),
        rise: *random.pick(&[1, 1, 2]).unwrap(),
        stays: random.chance(200),
        group: random
            .pick(groups)
            .filter(|_| random.chance(300))
            .map(|g| g.name.clone()),
    };
    let many = 1 + usize::from(random.chance(300));
    Health {
        checks: ["web", "sql"]
            .iter()
            .take(many)
            .map(|name| check(name, random))
            .collect(),
        failback_when: random.chance(500),
    }
}

const ALL: [FaultKind; 9] = [
    FaultKind::Cuts,
    FaultKind::Crash,
    FaultKind::LostStore,
    FaultKind::Kill,
    FaultKind::Freeze,
    FaultKind::Weather,
    FaultKind::Commands,
    FaultKind::Leave,
    FaultKind::FailingStarts,
];

fn all_and(more: &[FaultKind]) -> FaultProfile {
    FaultProfile::from_kinds(&[&ALL, more].concat())
}

fn all_but(less: &[FaultKind], more: &[FaultKind]) -> FaultProfile {
    let mut faults = all_and(more);
    faults.kinds.retain(|k| !less.contains(k));
    faults
}

/// Random clusters of this shape.
fn random_cluster(shape: ClassShape) -> impl Fn(&mut Random) -> ClusterSetup {
    move |random| setup(&shape, random)
}

fn holds(
    name: &'static str,
    setup: impl Fn(&mut Random) -> ClusterSetup + 'static,
    faults: FaultProfile,
) {
    let class = SwarmClass {
        name,
        setup: Box::new(setup),
        faults,
        one_owner: true,
    };
    swarm(&class, FEW);
}

#[test]
fn a_majority_of_nodes_never_runs_an_address_twice() {
    holds(
        "majority",
        random_cluster(MAJORITY),
        all_and(&[FaultKind::Time]),
    );
}

#[test]
fn six_or_seven_nodes_never_run_an_address_twice() {
    let shape = random_cluster(ClassShape {
        nodes: 6,
        more_nodes: 1,
        ..MAJORITY
    });
    holds("six and seven", shape, all_and(&[]));
}

#[test]
fn a_majority_with_ping_nodes_never_runs_an_address_twice() {
    let cluster = |r: &mut Random| {
        let shape = ClassShape {
            pings: 1 + usize::try_from(r.below(3)).unwrap(),
            ..MAJORITY
        };
        setup(&shape, r)
    };
    let faults = all_and(&[FaultKind::Blindness]);
    holds("majority and gateways", cluster, faults);
}

#[test]
fn the_probe_alone_holds_back_where_the_kernel_keeps_addresses() {
    let shape = random_cluster(ClassShape {
        kernel_leases: false,
        ..MAJORITY
    });
    let faults = all_but(
        &[FaultKind::Cuts],
        &[FaultKind::Blocks, FaultKind::Maintenance],
    );
    holds("majority, kernels keep addresses", shape, faults);
}

#[test]
fn a_majority_never_runs_scripts_twice_when_their_removal_is_waited_for() {
    let shape = random_cluster(ClassShape {
        steps: scripts,
        kernel_leases: false,
        ..MAJORITY
    });
    let faults = FaultProfile {
        slow_stops: Some(ms(250)),
        ..all_but(&[FaultKind::Kill, FaultKind::Freeze], &[FaultKind::Losses])
    };
    holds("majority, scripts", shape, faults);
}

fn few_scripts(r: &mut Random) -> ClusterSetup {
    let shape = ClassShape {
        nodes: 2,
        quorum: QuorumPolicy::Off,
        steps: impatient,
        kernel_leases: false,
        ..MAJORITY
    };
    setup(&shape, r)
}

#[test]
fn failing_stops_are_never_taken_for_stopped() {
    let kinds = [
        FaultKind::Commands,
        FaultKind::FailingStarts,
        FaultKind::FailingStops,
        FaultKind::Losses,
    ];
    let faults = FaultProfile {
        slow_stops: Some(secs(40)),
        ..FaultProfile::from_kinds(&kinds)
    };
    let slow = random_cluster(ClassShape {
        nodes: 2,
        quorum: QuorumPolicy::Off,
        steps: scripts,
        kernel_leases: false,
        ..MAJORITY
    });
    holds("failing stops", slow, faults);
}

#[test]
fn what_dies_or_looks_ill_is_restarted_or_moved_and_never_runs_twice() {
    let shape = |r: &mut Random| {
        let shape = ClassShape {
            nodes: 2,
            quorum: QuorumPolicy::Off,
            steps: monitored,
            kernel_leases: false,
            ..MAJORITY
        };
        let mut setup = setup(&shape, r);
        setup.cluster.health = checked(r, &setup.cluster.groups);
        setup
    };
    let kinds = [
        FaultKind::Deaths,
        FaultKind::Checks,
        FaultKind::Losses,
        FaultKind::Commands,
        FaultKind::FailingStarts,
        FaultKind::Hangs,
        FaultKind::Maintenance,
    ];
    holds("deaths and checks", shape, FaultProfile::from_kinds(&kinds));
}

#[test]
fn a_majority_that_looks_at_itself_never_runs_an_address_twice() {
    let shape = |r: &mut Random| {
        let mut setup = setup(&MAJORITY, r);
        for group in &mut setup.cluster.groups {
            for step in &mut group.steps {
                step.policy = monitored(r).pop().and_then(|s| s.policy);
            }
        }
        setup.cluster.health = checked(r, &setup.cluster.groups);
        setup
    };
    let faults = all_and(&[
        FaultKind::Deaths,
        FaultKind::Checks,
        FaultKind::Restart,
        FaultKind::Time,
    ]);
    holds("majority with checks", shape, faults);
}

#[test]
fn what_hangs_is_ended_and_never_taken_for_stopped() {
    let kinds = [
        FaultKind::Hangs,
        FaultKind::Commands,
        FaultKind::FailingStarts,
        FaultKind::Losses,
        FaultKind::Maintenance,
    ];
    holds("hangs", few_scripts, FaultProfile::from_kinds(&kinds));
}

#[test]
fn agents_that_lie_about_their_status_confuse_nothing_else() {
    let class = SwarmClass {
        name: "lies",
        setup: Box::new(few_scripts),
        faults: FaultProfile::from_kinds(&[
            FaultKind::Lies,
            FaultKind::Hangs,
            FaultKind::Commands,
            FaultKind::Restart,
            FaultKind::Crash,
            FaultKind::Kill,
        ]),
        one_owner: false,
    };
    swarm(&class, FEW);
}

#[test]
fn nodes_with_other_configurations_never_run_an_address_twice() {
    let faults = all_and(&[FaultKind::Reconfigure, FaultKind::Blindness]);
    let shape = random_cluster(MAJORITY);
    holds("other configurations", shape, faults);
}

#[test]
fn nodes_that_read_other_lists_of_nodes_never_run_an_address_twice() {
    let faults = all_but(
        &[FaultKind::LostStore],
        &[FaultKind::Voters, FaultKind::Isolation, FaultKind::Restart],
    );
    holds("lists of nodes", random_cluster(MAJORITY), faults);
}

#[test]
fn two_links_with_loss_never_run_an_address_twice() {
    let shape = random_cluster(ClassShape {
        links: 2,
        ..MAJORITY
    });
    let faults = FaultProfile::from_kinds(&[
        FaultKind::Cuts,
        FaultKind::Weather,
        FaultKind::Freeze,
        FaultKind::Time,
        FaultKind::Commands,
    ]);
    holds("two links", shape, faults);
}

#[test]
fn following_the_gateways_moves_nothing_twice() {
    let shape = |r: &mut Random| {
        let shape = ClassShape {
            more_nodes: 0,
            pings: 1,
            ..MAJORITY
        };
        let mut setup = setup(&shape, r);
        setup.cluster.follow_connectivity = true;
        setup
    };
    let faults = FaultProfile::from_kinds(&[
        FaultKind::Blindness,
        FaultKind::Isolation,
        FaultKind::Crash,
        FaultKind::Freeze,
        FaultKind::Commands,
        FaultKind::Weather,
    ]);
    holds("follow connectivity", shape, faults);
}

#[test]
fn pairs_that_lose_their_stores_run_an_address_once() {
    let shape = random_cluster(ClassShape {
        nodes: 2,
        more_nodes: 0,
        quorum: QuorumPolicy::Off,
        ..MAJORITY
    });
    let kinds = [
        FaultKind::Crash,
        FaultKind::LostStore,
        FaultKind::Restart,
        FaultKind::Kill,
        FaultKind::Commands,
        FaultKind::Leave,
    ];
    holds(
        "pairs without stores",
        shape,
        FaultProfile::from_kinds(&kinds),
    );
}

#[test]
fn announced_restarts_move_nothing_twice() {
    let faults = all_and(&[FaultKind::Restart, FaultKind::Force]);
    holds("restarts", random_cluster(MAJORITY), faults);
}

fn two_and_gateway(r: &mut Random) -> ClusterSetup {
    let shape = ClassShape {
        nodes: 2,
        more_nodes: 0,
        pings: 1,
        ..MAJORITY
    };
    setup(&shape, r)
}

#[test]
fn two_nodes_that_relay_through_a_gateway_never_run_an_address_twice() {
    let kinds = [
        FaultKind::Cuts,
        FaultKind::Blocks,
        FaultKind::Isolation,
        FaultKind::Blindness,
        FaultKind::Crash,
        FaultKind::Kill,
        FaultKind::Freeze,
        FaultKind::Commands,
        FaultKind::Leave,
        FaultKind::FailingStarts,
        FaultKind::Restart,
        FaultKind::LostStore,
        FaultKind::Time,
    ];
    let faults = FaultProfile::from_kinds(&kinds);
    holds("two and gateway", two_and_gateway, faults);
}

/// Two nodes and a witness, which is any of the three in ha.cf, sometimes with ping nodes.
fn two_and_witness(r: &mut Random) -> ClusterSetup {
    let shape = ClassShape {
        more_nodes: 0,
        pings: usize::try_from(r.below(3)).unwrap(),
        links: 1 + usize::from(r.chance(300)),
        ..MAJORITY
    };
    with_witness(&shape, r)
}

fn with_witness(shape: &ClassShape, r: &mut Random) -> ClusterSetup {
    let mut setup = setup(shape, r);
    let cluster = &mut setup.cluster;
    let witness = r.pick(&cluster.nodes).unwrap().clone();
    let nodes: Vec<NodeName> = cluster
        .nodes
        .iter()
        .filter(|n| **n != witness)
        .cloned()
        .collect();
    for group in &mut cluster.groups {
        group.preferred = r.pick(&nodes).unwrap().clone();
    }
    cluster.witnesses.push(witness);
    setup
}

#[test]
fn two_nodes_and_a_witness_never_run_an_address_twice() {
    let faults = all_and(&[
        FaultKind::Isolation,
        FaultKind::Blocks,
        FaultKind::Blindness,
        FaultKind::Restart,
        FaultKind::Time,
    ]);
    holds("two and witness", two_and_witness, faults);
}

#[test]
fn two_nodes_and_a_witness_that_start_one_after_the_other_never_run_an_address_twice() {
    let faults = FaultProfile::from_kinds(&[
        FaultKind::Cuts,
        FaultKind::Crash,
        FaultKind::LostStore,
        FaultKind::Restart,
        FaultKind::Leave,
        FaultKind::Reconfigure,
        FaultKind::Commands,
    ]);
    holds("two and witness, starts", two_and_witness, faults);
}

#[test]
fn two_nodes_and_a_gateway_without_relay_bear_clean_cuts() {
    let kinds = [
        FaultKind::Isolation,
        FaultKind::Crash,
        FaultKind::Kill,
        FaultKind::Freeze,
        FaultKind::Commands,
        FaultKind::Leave,
        FaultKind::FailingStarts,
    ];
    let faults = FaultProfile {
        quiet: Some(secs(4)),
        ..FaultProfile::from_kinds(&kinds)
    };
    let without_relay = |r: &mut Random| {
        let mut setup = two_and_gateway(r);
        setup.cluster.relay = false;
        setup
    };
    holds("two and gateway, no relay", without_relay, faults);
}

#[test]
fn two_nodes_without_quorum_never_run_an_address_twice_while_the_probe_reaches() {
    let shape = random_cluster(ClassShape {
        nodes: 2,
        more_nodes: 0,
        quorum: QuorumPolicy::Off,
        kernel_leases: false,
        ..MAJORITY
    });
    let faults = all_but(
        &[FaultKind::Cuts],
        &[FaultKind::Blocks, FaultKind::Maintenance],
    );
    holds("two, quorum off", shape, faults);
}

#[test]
fn machines_that_stand_still_with_their_clocks_find_back_to_one_owner() {
    let class = |name, setup: Box<dyn Fn(&mut Random) -> ClusterSetup>| SwarmClass {
        name,
        setup,
        faults: all_and(&[FaultKind::Suspend]),
        one_owner: false,
    };
    swarm(&class("suspended", Box::new(random_cluster(MAJORITY))), FEW);
    swarm(&class("suspended pair", Box::new(two_and_gateway)), FEW);
}

/// Daemons die and freeze, and machines lose their power.
const DEAD_DAEMONS: [FaultKind; 6] = [
    FaultKind::Kill,
    FaultKind::Freeze,
    FaultKind::Crash,
    FaultKind::Commands,
    FaultKind::FailingStarts,
    FaultKind::Time,
];

#[test]
fn shared_storage_is_active_once_whichever_daemons_die() {
    let faults = FaultProfile::from_kinds(&DEAD_DAEMONS);
    holds("shared storage", random_cluster(ON_STORAGE), faults.clone());
    let witness = |r: &mut Random| with_witness(&ON_STORAGE, r);
    holds("shared storage and witness", witness, faults);
}

#[test]
fn shared_storage_is_active_once_while_dead_daemons_and_cuts_do_not_meet() {
    let cuts = [FaultKind::Cuts, FaultKind::Isolation, FaultKind::Blocks];
    let faults = FaultProfile {
        quiet: Some(secs(15)),
        ..FaultProfile::from_kinds(&[&DEAD_DAEMONS[..], &cuts].concat())
    };
    holds(
        "shared storage, cuts",
        random_cluster(ON_STORAGE),
        faults.clone(),
    );
    let witness = |r: &mut Random| with_witness(&ON_STORAGE, r);
    holds("shared storage, cuts and witness", witness, faults);
}

/// Storage on nodes that can fence each other.
fn fenced_storage(shape: &ClassShape, r: &mut Random) -> ClusterSetup {
    let mut setup = setup(shape, r);
    setup.cluster.fencing = Fencing {
        nodes: setup.cluster.nodes.clone(),
        delay: secs(1 + r.below(5)),
        for_all: r.chance(300),
        reboot: r.chance(500),
    };
    setup
}

/// Also where dead daemons and cuts meet, and where stops fail: no other promise covers that.
#[test]
fn what_waits_for_fencing_never_runs_twice_whatever_happens() {
    let kinds = [
        FaultKind::Cuts,
        FaultKind::Blocks,
        FaultKind::Isolation,
        FaultKind::Restart,
        FaultKind::Leave,
        FaultKind::LostStore,
        FaultKind::Hangs,
        FaultKind::FailingStops,
        FaultKind::Weather,
        FaultKind::Fencing,
        FaultKind::Fencing,
    ];
    let faults = FaultProfile::from_kinds(&[&DEAD_DAEMONS[..], &kinds].concat());
    let three = |r: &mut Random| fenced_storage(&ON_STORAGE, r);
    holds("fenced", three, faults.clone());
    let pair = ClassShape {
        nodes: 2,
        quorum: QuorumPolicy::Off,
        ..ON_STORAGE
    };
    holds(
        "fenced pair",
        move |r: &mut Random| fenced_storage(&pair, r),
        faults.clone(),
    );
    let gateway = ClassShape {
        nodes: 2,
        pings: 1,
        ..ON_STORAGE
    };
    let faults = FaultProfile {
        kinds: [&FaultKind::Relay, &FaultKind::Blindness]
            .into_iter()
            .chain(&faults.kinds)
            .copied()
            .collect(),
        ..faults
    };
    holds(
        "fenced pair and gateway",
        move |r: &mut Random| fenced_storage(&gateway, r),
        faults,
    );
}
