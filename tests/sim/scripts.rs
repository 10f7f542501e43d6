//! Scripts are read as they are printed, and every word is documented.

use std::time::Duration;

use had::engine::Command;
use had::model::cluster::{GroupSpec, PingNode, QuorumPolicy, Step, Timeouts};
use had::model::cluster_setting::SettingValue;
use had::model::health::{CheckPolicy, Health, Policy};
use had::model::{GroupName, LinkName, NodeName};
use had::sim::{
    Behaviour, ClusterSetup, CutDirection, FAULT_WORDS, Fault, FaultKind, FaultProfile,
    FaultScript, MachineCondition, NetworkPath, ProbeBehaviour, ScriptSetting, StepLocation,
    Weather, World, generate,
};
use proptest::prelude::*;

fn time() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![Just(0), 0..2_000_000_000u64, 0..86_400_000_000_000u64];
    nanos.prop_map(Duration::from_nanos)
}

fn positive() -> impl Strategy<Value = Duration> {
    time().prop_map(|t| t.max(Duration::from_nanos(1)))
}

fn node() -> impl Strategy<Value = NodeName> {
    prop_oneof!["alice", "bob", "to-carol"].prop_map(|n: String| NodeName::new(&n))
}

fn group() -> impl Strategy<Value = GroupName> {
    prop_oneof!["db", "10\\.0\\.0\\.1", "drbddisk::r0"].prop_map(|n: String| GroupName::new(&n))
}

fn link() -> impl Strategy<Value = Option<LinkName>> {
    prop::option::of(prop_oneof!["eth0", "eth1"].prop_map(|n: String| LinkName::new(&n)))
}

fn way() -> impl Strategy<Value = CutDirection> {
    prop_oneof![Just(CutDirection::Both), Just(CutDirection::OneWay)]
}

fn step_location() -> impl Strategy<Value = StepLocation> {
    (node(), group(), 0..2usize).prop_map(|(node, group, step)| StepLocation { node, group, step })
}

fn check() -> impl Strategy<Value = String> {
    prop_oneof!["web", "on", "failback_when"]
}

fn policy() -> impl Strategy<Value = Option<Policy>> {
    let policy = (1..=1000u32, 1..=1000u32, 0..=1000u32, time());
    let policy = policy.prop_map(|(fall, rise, restart, within)| Policy {
        fall,
        rise,
        restart,
        within,
    });
    prop::option::of(policy)
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        time().prop_map(Behaviour::Works),
        Just(Behaviour::Fails("simulated failure".into())),
        Just(Behaviour::FailsHalfDone),
        Just(Behaviour::Hangs),
    ]
}

fn probe_behaviour() -> impl Strategy<Value = ProbeBehaviour> {
    prop_oneof![
        any::<bool>().prop_map(ProbeBehaviour::Says),
        Just(ProbeBehaviour::Fails),
        Just(ProbeBehaviour::Hangs)
    ]
}

fn weather() -> impl Strategy<Value = Weather> {
    (0..=1000u32, 0..=1000u32, time(), time()).prop_map(|(loss, twice, delay, jitter)| Weather {
        loss,
        twice,
        delay,
        jitter,
    })
}

fn path() -> impl Strategy<Value = NetworkPath> {
    (node(), node(), link()).prop_map(|(from, to, link)| NetworkPath { from, to, link })
}

fn quorum() -> impl Strategy<Value = QuorumPolicy> {
    prop_oneof![
        Just(QuorumPolicy::Stop),
        Just(QuorumPolicy::Freeze),
        Just(QuorumPolicy::Ignore),
        Just(QuorumPolicy::Off),
    ]
}

fn setting() -> impl Strategy<Value = ScriptSetting> {
    prop_oneof![
        positive().prop_map(|t| ScriptSetting::Cluster("deadtime", SettingValue::Time(t))),
        positive().prop_map(|t| ScriptSetting::Cluster("margin", SettingValue::Time(t))),
        quorum().prop_map(|q| ScriptSetting::Cluster("quorum", SettingValue::Quorum(q))),
        any::<bool>()
            .prop_map(|on| ScriptSetting::Cluster("auto_failback", SettingValue::Switch(on))),
        time().prop_map(|t| ScriptSetting::Cluster("failback_delay", SettingValue::Time(t))),
        any::<bool>().prop_map(ScriptSetting::FollowConnectivity),
        (group(), node()).prop_map(|(g, n)| ScriptSetting::Preferred(g, n)),
        group().prop_map(ScriptSetting::Without),
        group().prop_map(ScriptSetting::With),
        prop::collection::vec(node(), 1..4).prop_map(ScriptSetting::Voters),
        Just(ScriptSetting::Whole),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let groups = || prop::collection::vec(group(), 1..3);
    prop_oneof![
        (groups(), any::<bool>())
            .prop_map(|(groups, lasting)| Command::Standby { groups, lasting }),
        groups().prop_map(Command::Unstandby),
        (groups(), any::<bool>()).prop_map(|(groups, force)| Command::Takeover { groups, force }),
        group().prop_map(Command::Clear),
        (groups(), any::<bool>()).prop_map(|(groups, on)| Command::Maintenance { groups, on }),
        Just(Command::Leave),
        time().prop_map(|back_within| Command::Restart { back_within }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let ping = || prop::option::of(Just("10.0.0.254".to_owned()));
    let network = prop_oneof![
        (node(), node(), way(), link()).prop_map(|(a, b, way, link)| Fault::Cut {
            a,
            b,
            way,
            link
        }),
        (node(), node(), way()).prop_map(|(a, b, way)| Fault::Block { a, b, way }),
        node().prop_map(Fault::Isolate),
        (node(), ping()).prop_map(|(n, p)| Fault::Blind(n, p)),
        (node(), ping()).prop_map(|(n, p)| Fault::See(n, p)),
        Just(Fault::Heal),
        (weather(), prop::option::of(path())).prop_map(|(w, p)| Fault::Weather(w, p)),
    ];
    let machine = prop_oneof![
        node().prop_map(Fault::Crash),
        node().prop_map(Fault::Start),
        node().prop_map(Fault::Kill),
        node().prop_map(Fault::Freeze),
        node().prop_map(Fault::Suspend),
        (node(), any::<bool>()).prop_map(|(node, deaf)| Fault::Thaw { node, deaf }),
        node().prop_map(Fault::LoseStore),
        (node(), -10_000..10_000i32).prop_map(|(n, ppm)| Fault::Drift(n, ppm)),
        (node(), time()).prop_map(|(n, t)| Fault::Late(n, t)),
    ];
    let agents = prop_oneof![
        (step_location(), behaviour()).prop_map(|(s, b)| Fault::Starts(s, b)),
        (step_location(), behaviour()).prop_map(|(s, b)| Fault::Stops(s, b)),
        (step_location(), probe_behaviour()).prop_map(|(s, l)| Fault::Looks(s, l)),
        step_location().prop_map(Fault::Lose),
        step_location().prop_map(Fault::Die),
        step_location().prop_map(Fault::Ail),
        (node(), check(), any::<bool>()).prop_map(|(node, check, passes)| Fault::Check {
            node,
            check,
            passes
        }),
        Just(Fault::MendAgents),
    ];
    let people = prop_oneof![
        (node(), command(), any::<bool>()).prop_map(|(node, command, looked)| Fault::Command {
            node,
            command,
            looked
        }),
        (node(), setting()).prop_map(|(n, s)| Fault::Reconfigure(n, s)),
        Just(Fault::EndAll),
        Just(Fault::MakeAmends),
    ];
    // Unboxed, the value tree would not fit on the stack of a test.
    prop_oneof![
        network.boxed(),
        machine.boxed(),
        agents.boxed(),
        people.boxed()
    ]
}

fn setup() -> impl Strategy<Value = ClusterSetup> {
    let removal = (
        time(),
        quorum(),
        any::<bool>(),
        any::<u64>(),
        prop::option::of(time()),
    );
    let rest = (removal, policy());
    (rest, node(), time(), -500..500i32, time()).prop_map(|(rest, node, clock, ppm, late)| {
        let (rest, policy) = rest;
        let (removal, quorum, switch, seed, length) = rest;
        let mut setup =
            ClusterSetup::new(World::new(&["alice", "bob", "to-carol"]).links(2).cluster);
        setup.cluster.quorum = quorum;
        setup.cluster.auto_failback = switch;
        setup.cluster.pings.push(PingNode {
            name: "10.0.0.254".into(),
            addresses: Vec::new(),
        });
        setup.cluster.health = Health {
            checks: ["web", "on"]
                .map(|name| known(name, length.is_some()))
                .into(),
            failback_when: true,
        };
        let step = |addresses, removal| Step {
            start: removal,
            removal,
            policy,
            ..Step::new(
                vec!["one".into(), "two::three".into()],
                addresses,
                Timeouts::default(),
            )
        };
        for name in ["db", "10.0.0.1", "drbddisk::r0"] {
            setup.cluster.groups.push(GroupSpec {
                name: GroupName::new(name),
                preferred: node.clone(),
                steps: vec![step(true, Duration::ZERO), step(false, removal)],
            });
        }
        setup
            .machines
            .insert(node, MachineCondition { clock, ppm, late });
        (setup.kernel_leases, setup.seed, setup.length) = (switch, seed, length);
        let intervals = [("check web", 5), ("10.0.0.1 10.0.0.2", 70)];
        let intervals = intervals.map(|(words, s)| (words.to_owned(), Duration::from_secs(s)));
        setup.intervals = intervals.into_iter().filter(|_| switch).collect();
        // A hash of the rest, which every world computes.
        setup.cluster.digest = 0;
        setup
    })
}

fn known(name: &str, twice: bool) -> CheckPolicy {
    CheckPolicy {
        name: name.to_owned(),
        fall: 1 + u32::from(twice),
        rise: 1,
        stays: twice,
        group: twice.then(|| GroupName::new("db")),
    }
}

fn forget_digest(mut script: FaultScript) -> FaultScript {
    script.setup.cluster.digest = 0;
    script
}

proptest! {
    #[test]
    fn a_fault_is_read_as_it_is_printed(fault in fault()) {
        prop_assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault));
    }

    #[test]
    fn a_script_is_read_as_it_is_printed(
        setup in setup(),
        mut steps in prop::collection::vec((time(), fault()), 0..20),
    ) {
        steps.sort_by_key(|(at, _)| *at);
        let script = FaultScript { notes: vec!["what it is good for".into()], setup, steps };
        let read = FaultScript::read(&script.to_string()).map(forget_digest);
        prop_assert_eq!(read, Ok(script));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "([a-z0-9#%: .\\n]|nodes|at 1s|group|step|cut|weather|loss|é){0,60}") {
        drop(FaultScript::read(&text));
        drop(text.parse::<Fault>());
    }

    #[test]
    fn what_is_drawn_can_be_printed_and_read(seed in any::<u64>()) {
        let setup = World::new(&["a", "b", "c"]).links(2).ping("gw").group("db", "a", 1).group("web", "b", 0);
        let drawn = generate(ClusterSetup::new(setup.cluster), &FaultProfile::from_kinds(FaultKind::ALL), seed);
        let read = FaultScript::read(&drawn.to_string()).map(forget_digest);
        prop_assert_eq!(read, Ok(forget_digest(drawn)));
    }
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_is_known() {
    let text = "nodes alice bob\ngroup db on alise\nstep address : 10.0.0.1\nkeepalive 2x\n\
                at 1s crash carol\nat 1s crahs bob\nat 1x crash bob\nat 1s cut alice\nat 1s heal all\nnodes alice\n";
    let mistakes = FaultScript::read(text).unwrap_err();
    let all: Vec<String> = mistakes.list.iter().map(ToString::to_string).collect();
    let wanted = [
        "2:13: unknown node `alise`",
        "3:1: a step belongs below its group",
        "4:11: `2x` is not a time",
        "5:13: unknown node `carol`",
        "6:7: unknown fault `crahs`",
        "7:4: `1x` is not a time",
        "8:17: a node is missing here",
        "9:12: unexpected word `all`",
        "10:1: `nodes` is already given above",
    ];
    for (mistake, wanted) in all.iter().zip(wanted) {
        let wanted = format!("error: script:{wanted}");
        assert!(mistake.starts_with(&wanted), "{mistake}\nwanted: {wanted}");
    }
    assert_eq!(all.len(), wanted.len(), "{all:#?}");
    assert!(all[0].contains("did you mean `alice`?"), "{}", all[0]);
    assert!(all[4].contains("did you mean `crash`?"), "{}", all[4]);
}

#[test]
fn a_check_of_a_group_that_is_not_there_is_a_mistake() {
    let text = |of: &str| {
        format!("nodes alice bob\ncheck disk of {of}\ngroup db on alice\nstep address : 10.0.0.1\n")
    };
    assert!(FaultScript::read(&text("db")).is_ok());
    let mistakes = FaultScript::read(&text("bd")).unwrap_err();
    let told = mistakes.to_string();
    assert!(
        told.contains("check disk is for the unknown group bd"),
        "{told}"
    );
}

#[test]
fn a_script_for_a_given_cluster_may_not_describe_one() {
    let setup = ClusterSetup::new(
        World::new(&["alice", "bob"])
            .group("db", "alice", 0)
            .cluster,
    );
    let good =
        FaultScript::read_for("seed 5\nfor 10s\nat 1s crash alice\n", setup.clone()).unwrap();
    assert_eq!((good.setup.seed, good.steps.len()), (5, 1));
    let bad = FaultScript::read_for("nodes a b\nat 1s crash alice\n", setup).unwrap_err();
    assert!(
        bad.to_string().contains("come from the configuration"),
        "{bad}"
    );
}

#[test]
fn kinds_of_faults_are_named_and_suggested() {
    let faults: FaultProfile = "cuts,crash".parse().unwrap();
    assert_eq!(
        faults,
        FaultProfile::from_kinds(&[FaultKind::Crash, FaultKind::Cuts])
    );
    assert_eq!(faults.to_string().parse(), Ok(faults));
    let wrong = "cuts,crahs".parse::<FaultProfile>().unwrap_err();
    assert!(wrong.contains("did you mean `crash`?"), "{wrong}");
}

#[test]
fn every_word_of_a_script_can_be_read_and_printed() {
    for row in FAULT_WORDS {
        let fault: Fault = row.example.parse().unwrap();
        assert_eq!(fault.to_string(), row.example);
        assert!(row.example.starts_with(row.word) && !row.meaning.is_empty());
    }
}

#[test]
fn every_kind_of_fault_has_a_word_and_can_be_generated() {
    let world = World::new(&["a", "b"]).ping("gw").group("db", "a", 1);
    let setup = ClusterSetup::new(world.cluster);
    for kind in FaultKind::ALL {
        let profile: FaultProfile = kind.word().parse().unwrap();
        assert_eq!(profile, FaultProfile::from_kinds(&[*kind]));
        generate(setup.clone(), &profile, 1);
    }
}
