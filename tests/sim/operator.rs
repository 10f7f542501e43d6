//! What an administrator asks for, and is told.

use crate::*;
use had::control::select::{Direction, select_groups};
use had::engine::{Asker, Command};
use had::model::cluster::{Cluster, QuorumPolicy};
use had::model::health::CheckPolicy;
use had::model::heartbeat::GroupState;
use had::model::{GroupName, NodeName};
use had::sim::{Behaviour, ProbeBehaviour, Weather, World};

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

/// Gives a command and returns its answer, and after what time it came.
fn ask(world: &mut World, node: &str, command: Command) -> (Result<String, String>, Duration) {
    let asked = world.now;
    let id = world.command(node, command);
    until(world, secs(300), |w| w.answer(node, id).is_some());
    (world.answer(node, id).unwrap(), world.now.since(asked))
}

/// The refusal of a takeover. It comes at once.
fn refused(world: &mut World, node: &str, force: bool) -> String {
    let (answer, time) = ask(
        world,
        node,
        Command::Takeover {
            groups: db(),
            force,
        },
    );
    let text = answer.unwrap_err();
    assert!(time < ms(100), "after {time:?}: {text}");
    text
}

fn notes(world: &World, node: &str) -> String {
    world.status(node).unwrap().groups[0].notes.join("\n")
}

/// The configuration of a node without any group.
fn without_groups(world: &World, name: &str) -> Cluster {
    let mut cluster = world.cluster.clone();
    cluster.me = NodeName::new(name);
    cluster.digest += 1;
    cluster.groups.clear();
    cluster
}

/// The groups that a word means on a node, as its daemon finds them.
fn meant(world: &World, node: &str, word: &str) -> Vec<GroupName> {
    let held = world.status(node).unwrap().groups;
    let held: Vec<_> = held.into_iter().map(|g| (g.name, g.preferred)).collect();
    let me = NodeName::new(node);
    select_groups(&[word.to_owned()], &held, &me, Direction::Away).unwrap()
}

/// The group is removed from the files while it is in maintenance, by whoever began that.
#[test]
fn a_removed_group_stays_in_maintenance_until_a_word_ends_that() {
    for (by, word) in [("bob", "foreign"), ("alice", "local"), ("bob", "all")] {
        let mut world = pair(1);
        let maintenance = |groups, on| Command::Maintenance { groups, on };
        let groups = meant(&world, by, word);
        ask(&mut world, by, maintenance(groups, true)).0.unwrap();
        world.run_for(secs(1));
        for node in ["alice", "bob"] {
            let cluster = without_groups(&world, node);
            world.reload(node, cluster);
        }
        world.run_for(secs(10));
        assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
        let said = notes(&world, "alice");
        assert!(said.contains("no longer in haresources"), "{said}");
        let groups = meant(&world, by, word);
        assert_eq!(groups, db());
        ask(&mut world, by, maintenance(groups, false)).0.unwrap();
        let gone = |w: &World| w.status("alice").unwrap().groups.is_empty();
        until(&mut world, secs(10), |w| gone(w));
        assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    }
}

#[test]
fn a_removed_group_is_moved_nowhere() {
    let mut world = pair(1);
    let on = Command::Maintenance {
        groups: db(),
        on: true,
    };
    ask(&mut world, "alice", on).0.unwrap();
    let cluster = without_groups(&world, "alice");
    world.reload("alice", cluster);
    world.run_for(secs(1));
    let standby = Command::Standby {
        groups: db(),
        lasting: true,
    };
    let text = ask(&mut world, "alice", standby).0.unwrap_err();
    assert!(text.contains("no longer in haresources"), "{text}");
}

/// A machine that died while its stop had failed.
#[test]
fn a_takeover_from_a_dead_node_where_the_stop_failed_is_refused_at_once() {
    let mut world = pair(1);
    world.on_stop("alice", "db", 1, Behaviour::Fails("busy".into()));
    standby_db(&mut world, "alice");
    until(&mut world, secs(30), |w| {
        w.state("alice", "db") == Some(GroupState::Stuck)
    });
    world.run_for(secs(1));
    world.crash("alice");
    world.run_for(DEADTIME + secs(1));
    let text = refused(&mut world, "bob", false);
    assert!(text.contains("its stop failed on alice"), "{text}");
    assert!(text.contains("hactl takeover --force"), "{text}");
    let force = Command::Takeover {
        groups: db(),
        force: true,
    };
    ask(&mut world, "bob", force).0.unwrap();
    assert_eq!(world.runs_on("db"), ["bob"]);
}

/// Nothing but a person ends these waits.
#[test]
fn a_takeover_that_something_lasting_holds_is_refused_at_once() {
    // The machine of a dead daemon answers.
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 1)
        .with(|c| c.groups[0].steps[1].shared_storage = true);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world.kill("alice");
    world.run_for(secs(10));
    let text = refused(&mut world, "bob", false);
    assert!(text.contains("its machine answers"), "{text}");
    // The owner does not hear us.
    let mut world = pair(0);
    world.block_heartbeats_one_way("bob", "alice");
    world.run_for(DEADTIME + secs(2));
    let text = refused(&mut world, "bob", false);
    assert!(text.contains("alice does not receive"), "{text}");
}

/// A takeover in which nothing moves ends soon, though starts and stops might take minutes.
#[test]
fn a_takeover_in_which_nothing_moves_ends_soon() {
    let mut world = World::new(&["alice", "bob", "carol"])
        .group("db", "alice", 1)
        .with(|c| c.groups[0].steps[1].start = secs(300));
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.kill("carol");
    let looks = &mut world.machine("carol").look_behaviour;
    looks.insert((GroupName::new("db"), 1), ProbeBehaviour::Hangs);
    world.start("carol");
    world.run_for(secs(1));
    world.crash("alice");
    world.run_for(DEADTIME + secs(1));
    let take = Command::Takeover {
        groups: db(),
        force: false,
    };
    let (answer, time) = ask(&mut world, "bob", take);
    let text = answer.unwrap_err();
    assert!(text.contains("carol does not know yet"), "{text}");
    assert!(time < secs(15), "{time:?}");
}

/// A pair whose second node fails a check of the group, with this policy of the check.
fn with_ill_bob(policy: CheckPolicy) -> World {
    let mut world = pair_of_checked(policy);
    world.fail_check("bob", "lag", Some("1124 rows behind"));
    world.run_for(secs(20));
    world
}

fn pair_of_checked(policy: CheckPolicy) -> World {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 1)
        .with(|c| c.health.checks = vec![policy]);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

fn lag(stays: bool) -> CheckPolicy {
    CheckPolicy {
        name: "lag".into(),
        fall: 2,
        rise: 2,
        stays,
        group: Some(GroupName::new("db")),
    }
}

/// The owner's database is dead, which nobody watches, and the other node fails a check: the command that goes on is
/// named, and goes on.
#[test]
fn force_takes_a_group_to_a_node_that_fails_a_check() {
    for owner_stays in [true, false] {
        let mut world = with_ill_bob(lag(owner_stays));
        world.fail_check("alice", "lag", Some("the server does not answer"));
        world.run_for(secs(10));
        assert_eq!(world.runs_on("db"), ["alice"]);
        let standby = Command::Standby {
            groups: db(),
            lasting: true,
        };
        let text = ask(&mut world, "alice", standby).0.unwrap_err();
        assert!(text.contains("hactl takeover --force db on bob"), "{text}");
        let text = refused(&mut world, "bob", false);
        assert!(text.contains("1124 rows behind"), "{text}");
        assert!(text.contains("hactl takeover --force db"), "{text}");
        let force = Command::Takeover {
            groups: db(),
            force: true,
        };
        let told = ask(&mut world, "bob", force).0.unwrap();
        assert!(told.contains("1124 rows behind"), "{told}");
        world.run_for(secs(30));
        assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
        no_double(&world);
    }
}

/// Nobody else can run the group: what broke the start may be over in a moment.
#[test]
fn a_start_that_failed_is_tried_again_soon_where_nobody_else_can() {
    let mut world = pair(1);
    world.crash("bob");
    world.run_for(DEADTIME + secs(1));
    world.on_start("alice", "db", 1, Behaviour::Fails("not yet".into()));
    world.lose_step_noticed("alice", "db", 1, "it died");
    until(&mut world, secs(20), |w| {
        w.state("alice", "db") == Some(GroupState::Failed)
    });
    world.run_for(secs(2));
    let tried = |w: &World| {
        let starts = decisions(w, "alice");
        starts.iter().filter(|d| d.contains(": starting")).count()
    };
    let before = tried(&world);
    world.run_for(secs(10));
    assert!(tried(&world) > before, "{}", story(&world));
    world.on_start("alice", "db", 1, Behaviour::Works(ms(10)));
    settle_on(&mut world, "db", "alice");
}

/// The reason why a group is down is the present one.
#[test]
fn status_says_why_a_group_is_down_now() {
    let mut world = with_ill_bob(lag(false));
    world.crash("alice");
    world.run_for(DEADTIME + secs(5));
    assert!(
        notes(&world, "bob").contains("1124 rows behind"),
        "{}",
        notes(&world, "bob")
    );
    world.fail_check("bob", "lag", Some("7 rows behind"));
    world.run_for(secs(15));
    assert!(
        notes(&world, "bob").contains("7 rows behind"),
        "{}",
        notes(&world, "bob")
    );
}

/// Nobody waits for the outcome: a refusal is told all the same, and what comes to nothing is in the journal.
#[test]
fn a_command_without_a_wait_is_refused_and_leaves_a_trace() {
    let mut world = pair(1);
    let asker = || Asker {
        who: "carol".into(),
        waits: false,
    };
    let standby = || Command::Standby {
        groups: db(),
        lasting: true,
    };
    world.on_start("bob", "db", 1, Behaviour::Fails("no".into()));
    let id = world.command_by(asker(), "alice", standby());
    world.run_for(ms(1));
    assert_eq!(world.answer("alice", id), Some(Ok("accepted".into())));
    world.run_for(secs(60));
    let told = decisions(&world, "alice").join("\n");
    assert!(
        told.contains("administrator command: standby (by carol)"),
        "{told}"
    );
    assert!(
        told.contains("standby failed: db starts here again"),
        "{told}"
    );
    world.crash("bob");
    world.run_for(DEADTIME + secs(1));
    let id = world.command_by(asker(), "alice", standby());
    world.run_for(ms(1));
    let text = world.answer("alice", id).unwrap().unwrap_err();
    assert!(text.contains("bob is dead"), "{text}");
}

/// The journal of a former owner does not end with its own time.
#[test]
fn a_former_owner_knows_who_has_the_group_now() {
    let mut world = pair(1);
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    world.start("alice");
    world.run_for(secs(5));
    let told = decisions(&world, "alice");
    assert_eq!(
        told.iter().filter(|d| *d == "db: runs on bob").count(),
        1,
        "{told:?}"
    );
}

/// A link that loses much beside one that loses nothing.
#[test]
fn heavy_loss_on_one_of_two_links_is_shown() {
    let mut world = World::new(&["alice", "bob"])
        .links(2)
        .group("db", "alice", 0);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    let lossy = Weather {
        loss: 400,
        ..Weather::CALM
    };
    world.weather_between("bob", "alice", 1, lossy);
    world.run_for(secs(60));
    let alice = world.status("alice").unwrap();
    let notes = alice.nodes[1].notes.join("\n");
    assert!(
        notes.contains("of its heartbeats are lost on eth1"),
        "{notes}"
    );
    assert!(!notes.contains("eth0"), "{notes}");
}

/// The last of three nodes has no quorum. It says what can be done.
#[test]
fn the_last_of_three_names_its_way_out() {
    let mut world = World::new(&["alice", "bob", "carol"])
        .group("db", "alice", 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    for other in ["alice", "bob"] {
        world.crash(other);
    }
    world.run_for(secs(20));
    for force in [false, true] {
        let text = refused(&mut world, "carol", force);
        assert!(text.contains("hactl fence confirm alice --yes"), "{text}");
        assert!(text.contains("hactl fence confirm bob --yes"), "{text}");
    }
}
