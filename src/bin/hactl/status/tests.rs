//! Pages as they must look, line by line.

use super::*;
use had::model::heartbeat::{Phase, Reach};
use had::model::status::{Distribution, LatenessStatus, Note, PingStatus, STANDBY_LACKS};
use had::model::{Generation, GroupName, LinkName, Term};
use std::time::Duration;

const WIDE: Screen = Screen {
    width: 80,
    colour: false,
    rows: None,
};

fn name(node: &str) -> NodeName {
    NodeName::new(node)
}

fn link(link: &str, hears: bool, heard: Option<bool>) -> LinkStatus {
    LinkStatus {
        link: LinkName::new(link),
        hears,
        heard,
        relay: false,
        silent_for: None,
    }
}

fn member(node: &str, liveness: Liveness, silent_ms: u64, links: Vec<LinkStatus>) -> NodeStatus {
    let here = liveness == Liveness::Here;
    NodeStatus {
        name: name(node),
        witness: false,
        liveness,
        silent_for: (!here).then(|| Duration::from_millis(silent_ms)),
        generation: Some(Generation(7)),
        reach: Some(Reach {
            answering: 1,
            configured: 1,
        }),
        links,
        notes: vec![],
    }
}

fn group(group: &str, preferred: &str, owners: &[&str], states: [GroupState; 2]) -> GroupStatus {
    let running = states[0] == GroupState::Online;
    GroupStatus {
        name: GroupName::new(group),
        preferred: name(preferred),
        owners: owners.iter().map(|owner| name(owner)).collect(),
        states: vec![(name("alice"), states[0]), (name("bob"), states[1])],
        term: Term(3),
        resources: [group, "nginx"]
            .map(|token| ResourceStatus {
                token: token.to_owned(),
                state: if running {
                    ResourceState::Running
                } else {
                    ResourceState::Stopped
                },
                error: None,
                watch: None,
                unwatched: false,
            })
            .to_vec(),
        standbys: Vec::new(),
        notes: vec![],
        takeover: None,
        last_switch_ms: None,
        last_drill_ms: None,
    }
}

/// What alice sees when all is well.
fn pair() -> Status {
    use GroupState::{Offline, Online};
    Status {
        node: name("alice"),
        generation: Generation(1732),
        phase: Phase::Active,
        waiting: None,
        nodes: vec![
            member("alice", Liveness::Here, 0, vec![]),
            member(
                "bob",
                Liveness::Active,
                123,
                vec![
                    link("eth0", true, Some(true)),
                    link("eth1", true, Some(true)),
                ],
            ),
        ],
        pings: vec![PingStatus {
            name: "10.1.88.254".into(),
            up: true,
            answered: None,
            member: None,
        }],
        quorum: QuorumStatus {
            held: true,
            counted: true,
            ignored: false,
            votes: 3,
            total: 3,
        },
        former_voters: vec![],
        fencing: vec![],
        groups: vec![
            group(
                "10.1.88.199/24/eth0",
                "alice",
                &["alice"],
                [Online, Offline],
            ),
            group("mysqld::shop", "bob", &["bob"], [Offline, Online]),
        ],
        checks: Vec::new(),
        counters: std::collections::BTreeMap::new(),
        lateness: None,
        activity: Vec::new(),
    }
}

#[track_caller]
fn looks(status: &Status, screen: Screen, expected: &str) {
    let page = render_status(status, screen);
    let marked = page
        .lines()
        .filter(|l| l.trim_start().starts_with("! "))
        .count();
    if screen.width == WIDE.width {
        assert_eq!(
            status.problems().len(),
            marked,
            "{page}\n{:#?}",
            status.problems()
        );
    }
    assert!(page == expected, "got:\n{page}\nexpected:\n{expected}");
}

/// The part of the page between two headings.
fn part<'a>(page: &'a str, heading: &str) -> &'a str {
    let from = page.find(heading).unwrap() + heading.len();
    let rest = &page[from..];
    rest[..rest.find("\n\n").unwrap_or(rest.len())].trim_matches('\n')
}

#[test]
fn a_healthy_pair() {
    looks(
        &pair(),
        WIDE,
        "\
The cluster as alice sees it: all is well

Nodes
  alice  here, reaches 1 of 1 ping nodes
  bob    active, heard 123 ms ago, reaches 1 of 1 ping nodes
         eth0: up in both directions
         eth1: up in both directions

Ping nodes
  10.1.88.254  answers

Quorum
  held: 3 of 3 votes, 2 needed

Groups, with their resources on alice
  10.1.88.199/24/eth0 runs on alice
      10.1.88.199/24/eth0  running
      nginx                running
  mysqld::shop runs on bob
      mysqld::shop  stopped here
      nginx         stopped here

Last switch to another node
  10.1.88.199/24/eth0  none known
  mysqld::shop         none known
",
    );
}

#[test]
fn a_lost_witness_is_one_problem_and_moves_nothing() {
    let mut status = pair();
    let links = vec![link("eth0", false, None)];
    let mut witness = member("carol", Liveness::Dead, 75_000, links);
    witness.witness = true;
    status.nodes.push(witness);
    let page = render_status(&status, WIDE);
    assert!(page.starts_with("The cluster as alice sees it: 1 problem, marked with !\n"));
    assert!(page.contains(
        "  carol  witness, dead, heard 75 s ago
         ! silent for longer than deadtime on eth0; check that machine and its
           links
"
    ));
}

#[test]
fn who_could_take_a_group_over_and_who_not() {
    let mut status = pair();
    let standby = |node: &str, reasons: Vec<Note>| StandbyStatus {
        node: name(node),
        candidate: true,
        ready: reasons.is_empty(),
        reasons,
    };
    status.groups[0].standbys = vec![
        standby("bob", vec![]),
        standby("carol", vec![]),
        standby("dave", vec![Note::new("readiness-unknown", "x")]),
    ];
    let lacks = Note::new(STANDBY_LACKS, "had would not start: no script nginx");
    // What is told with the node already is not a second problem.
    let disk = Note::new("node-lacks", "the disk is full");
    status.groups[1].standbys = vec![
        standby("alice", vec![disk.clone(), lacks]),
        standby("carol", vec![disk]),
    ];
    status.groups[0].takeover = Some(Duration::from_millis(3200));
    let page = render_status(&status, WIDE);
    assert!(page.contains("1 problem, marked"), "{page}");
    assert_eq!(status.problems().len(), 1);
    assert!(page.contains(
        "\
      nginx                running
      ready to take it over: bob, carol (after a crash in about 3.2 s)
"
    ));
    assert!(
        page.contains(
            "\
      nginx         stopped here
    ! alice is not ready to take it over: the disk is full; had would not start:
      no script nginx
      carol is not ready to take it over: the disk is full
"
        ),
        "{page}"
    );
}

#[test]
fn the_page_of_a_witness_has_no_resources() {
    let mut status = pair();
    status.node = name("carol");
    let mut witness = member("carol", Liveness::Here, 0, vec![]);
    witness.witness = true;
    status.nodes.push(witness);
    for group in &mut status.groups {
        group.preferred = name("");
        group.resources.clear();
    }
    let groups = "\nGroups\n  10.1.88.199/24/eth0 runs on alice\n  mysqld::shop runs on bob\n";
    let page = render_status(&status, WIDE);
    assert!(page.contains(groups), "{page}");
    assert!(page.contains("  carol  witness, here, reaches 1 of 1 ping nodes\n"));
    status.groups.clear();
    let page = render_status(&status, WIDE);
    assert!(
        page.contains("\nGroups\n  no node has named one yet\n"),
        "{page}"
    );
}

#[test]
fn the_owner_is_dead() {
    let mut status = pair();
    status.nodes[1].liveness = Liveness::Dead;
    status.nodes[1].silent_for = Some(Duration::from_secs(75));
    status.nodes[1].links = vec![link("eth0", false, None), link("eth1", false, None)];
    status.quorum.votes = 2;
    status.groups[1].owners.clear();
    status.groups[1].states = vec![(name("alice"), GroupState::Claiming)];
    status.groups[1].notes = vec![Note::new(
        "not-running",
        "split brain suspected: one of its addresses still answers (10.1.88.200 is at 00:16:3e:01:02:03); stop what runs there, or override with hactl takeover --force",
    )];
    looks(
        &status,
        WIDE,
        "\
The cluster as alice sees it: 2 problems, marked with !

Nodes
  alice  here, reaches 1 of 1 ping nodes
  bob    dead, heard 75 s ago
         ! silent for longer than deadtime on eth0, eth1; check that machine and
           its links

Ping nodes
  10.1.88.254  answers

Quorum
  held: 2 of 3 votes, 2 needed

Groups, with their resources on alice
  10.1.88.199/24/eth0 runs on alice
      10.1.88.199/24/eth0  running
      nginx                running
  mysqld::shop is about to be started on alice, prefers bob
      mysqld::shop  stopped
      nginx         stopped
    ! split brain suspected: one of its addresses still answers (10.1.88.200 is
      at 00:16:3e:01:02:03); stop what runs there, or override with hactl
      takeover --force

Last switch to another node
  10.1.88.199/24/eth0  none known
  mysqld::shop         none known
",
    );
}

#[test]
fn a_split() {
    let mut status = pair();
    status.groups = vec![group(
        "web",
        "alice",
        &["alice", "bob"],
        [GroupState::Online, GroupState::Online],
    )];
    let page = render_status(&status, WIDE);
    assert!(page.starts_with("The cluster as alice sees it: 1 problem, marked with !\n"));
    assert_eq!(
        part(&page, "on alice\n"),
        "! web SPLIT: runs on alice and bob\n      web    running\n      nginx  running"
    );
}

#[test]
fn a_group_is_stuck_and_another_failed() {
    use GroupState::{Failed, Offline, Online, Stuck};
    let mut status = pair();
    let mut stuck = group("web", "alice", &["alice"], [Stuck, Offline]);
    stuck.resources[0].state = ResourceState::Failed;
    stuck.resources[0].error = Some("umount: /data: target is busy".into());
    stuck.notes = vec![Note::new(
        "failure-here",
        "see to alice, then run hactl clear web",
    )];
    status.groups = vec![
        stuck,
        group("mail", "alice", &["bob"], [Failed, Online]),
        group("db", "alice", &[], [Failed, Failed]),
    ];
    assert_eq!(
        part(&render_status(&status, WIDE), "on alice\n"),
        "\
! web is stuck on alice
    ! web    failed: umount: /data: target is busy
      nginx  stopped
    ! see to alice, then run hactl clear web
! mail runs on bob, prefers alice; failed on alice
      mail   stopped here
      nginx  stopped here
! db runs nowhere, prefers alice; failed on alice; failed on bob
      db     stopped
      nginx  stopped"
    );
}

#[test]
fn a_node_is_late_and_links_are_one_way() {
    let mut status = pair();
    let bob = &mut status.nodes[1];
    bob.liveness = Liveness::Late;
    bob.silent_for = Some(Duration::from_millis(6400));
    bob.links = vec![
        link("eth0", true, Some(false)),
        link("eth1", false, Some(true)),
        link("eth2", false, Some(false)),
        link("eth3", true, None),
    ];
    bob.notes = vec![Note::new(
        "config-differs",
        "its configuration differs from ours; compare haresources",
    )];
    assert_eq!(
        part(&render_status(&status, WIDE), "Nodes\n"),
        "  alice  here, reaches 1 of 1 ping nodes
  bob    late, heard 6.4 s ago, reaches 1 of 1 ping nodes
         ! eth0: one-way: we hear it, it does not hear us
         ! eth1: one-way: it hears us, we do not hear it
         ! eth2: down
         eth3: we hear it; not known yet whether it hears us
         ! its configuration differs from ours; compare haresources"
    );
}

#[test]
fn one_line_counts_the_groups_that_run_and_names_the_kinds_of_problems() {
    let mut status = pair();
    let line = render_brief(&status);
    assert!(line.starts_with("no problem: "), "{line}");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let group = status.groups[0].clone();
    let (name, owner) = (&group.name, &group.owners[0]);
    assert!(line.contains(&format!("; {name} on {owner}")), "{line}");
    let place = group.states.iter().position(|(node, _)| node == owner);
    status.groups[0].states[place.unwrap()].1 = GroupState::Starting;
    let line = render_brief(&status);
    assert!(
        line.contains(&format!("; {name} starting on {owner}")),
        "{line}"
    );
    status.groups[0].owners = vec![NodeName::new("alice"), NodeName::new("bob")];
    let line = render_brief(&status);
    assert!(
        line.contains(&format!("; {name} on alice and bob")),
        "{line}"
    );
    status.groups[0].owners.clear();
    let line = render_brief(&status);
    assert!(line.contains(&format!("; {name} nowhere")), "{line}");
    status.nodes[1].liveness = Liveness::Dead;
    let line = render_brief(&status);
    let ids = ["problems: ", "; ", "node-dead bob", "group-down "];
    for part in ids {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    let runs = |line: &str| {
        line.split(": ")
            .nth(1)
            .unwrap()
            .split(" of ")
            .next()
            .unwrap()
            .to_owned()
    };
    let before: usize = runs(&render_brief(&pair())).parse().unwrap();
    assert_eq!(runs(&line), (before - 1).to_string(), "{line}");
}

#[test]
fn what_nobody_watches_is_not_called_well() {
    let mut status = pair();
    let resources = &mut status.groups[0].resources;
    resources[1].unwatched = true;
    let page = render_status(&status, WIDE);
    let head = "The cluster as alice sees it: no problem seen; 1 resource is not watched (see\nmonitor in ha.cf)\n";
    assert!(page.starts_with(head), "{page}");
    assert!(
        page.contains("nginx                running when last looked at, not watched\n"),
        "{page}"
    );
    // What only did something at its start cannot die.
    status.groups[0].resources[1].token = "Delay::3".to_owned();
    let page = render_status(&status, WIDE);
    assert!(page.contains("all is well"), "{page}");
}

#[test]
fn there_is_no_quorum() {
    let mut status = pair();
    status.quorum = QuorumStatus {
        held: false,
        counted: true,
        ignored: false,
        votes: 1,
        total: 3,
    };
    status.pings[0].up = false;
    let page = render_status(&status, WIDE);
    assert_eq!(part(&page, "Ping nodes\n"), "! 10.1.88.254 does not answer");
    assert_eq!(
        part(&page, "Quorum\n"),
        "! lost: 1 of 3 votes, 2 needed; no group can be started on this side"
    );
    status.pings[0].member = Some(NodeName::new("bob"));
    assert_eq!(
        part(&render_status(&status, WIDE), "Ping nodes\n"),
        "! 10.1.88.254 is the machine of bob, so it has no vote: take an address outside\n  the cluster, such as the gateway"
    );
    status.quorum.counted = false;
    assert_eq!(
        part(&render_status(&status, WIDE), "Quorum\n"),
        "  not used: votes are not counted"
    );
}

#[test]
fn just_started() {
    use GroupState::Unknown;
    let mut status = pair();
    status.phase = Phase::Init;
    status.waiting = Some("to hear bob, 110 s more at most (initdead)".into());
    status.nodes[1].liveness = Liveness::Init;
    status.nodes[1].silent_for = None;
    status.nodes[1].reach = None;
    status.pings.clear();
    status.groups = vec![group("web", "alice", &[], [Unknown, Unknown])];
    status.groups[0].states.truncate(1);
    looks(
        &status,
        Screen { width: 50, ..WIDE },
        "\
The cluster as alice sees it: 3 problems, marked
with !
! this node does not take part in the cluster yet;
  it waits to hear bob, 110 s more at most
  (initdead)

Nodes
  alice  here, reaches 1 of 1 ping nodes
  bob    init
         ! not heard since this daemon started; is
           had running there?

Quorum
  held: 3 of 3 votes, 2 needed

Groups, with their resources on alice
! web runs nowhere, prefers alice; not checked yet
  on alice
      web    stopped
      nginx  stopped

Last switch to another node
  web  none known
",
    );
}

#[test]
fn red_is_only_what_is_bad_and_green_the_good_news() {
    let colour = Screen {
        colour: true,
        ..WIDE
    };
    let page = render_status(&pair(), colour);
    assert!(page.contains("\x1b[32mThe cluster as alice sees it: all is well\x1b[0m\n"));
    assert!(!page.contains("\x1b[31m"));
    let mut status = pair();
    status.groups[1].owners.clear();
    status.groups[1].states.clear();
    let page = render_status(&status, colour);
    assert_eq!(page.matches("\x1b[31m").count(), 2);
    assert!(page.contains("\x1b[31m! mysqld::shop runs nowhere, prefers bob\x1b[0m\n"));
}

#[test]
fn who_has_what_after_a_command() {
    assert_eq!(
        render_owners(&pair(), WIDE),
        "  10.1.88.199/24/eth0  runs on alice\n  mysqld::shop         runs on bob\n"
    );
}

#[test]
fn the_scheduling_delay_is_shown_and_what_the_timeouts_allow_when_that_matters() {
    let ms = Duration::from_millis;
    let spread = |max| Spread {
        count: 3,
        p50: ms(1),
        p999: ms(20),
        max,
    };
    let mut status = pair();
    status.lateness = Some(LatenessStatus {
        delays: Distribution::default(),
        carries: ms(100),
        recent: spread(ms(49)),
        life: spread(ms(70)),
    });
    let page = render_status(&status, WIDE);
    assert!(page.contains("all is well"), "{page}");
    let heading = "Scheduling delay on alice\n";
    assert_eq!(
        part(&page, heading),
        "  last minute: median 1.00 ms, 99.9th percentile 20 ms, maximum 49 ms\n  \
         since start: median 1.00 ms, 99.9th percentile 20 ms, maximum 70 ms"
    );
    status.lateness.as_mut().unwrap().recent = spread(ms(50));
    let page = render_status(&status, WIDE);
    assert!(
        page.contains("the times in ha.cf tolerate a delay of 100 ms"),
        "{page}"
    );
}

#[test]
fn checks_and_monitors_are_shown_with_their_numbers() {
    use had::model::status::{CheckState, CheckStatus, WatchStatus};
    let mut status = pair();
    let check = |name: &str, state, text: &str| CheckStatus {
        name: name.to_owned(),
        state,
        lasts: Duration::from_secs(90),
        against: u32::from(state == CheckState::Good),
        looked: Some(Duration::from_secs(1)),
        lag: None,
        text: text.to_owned(),
    };
    status.checks = vec![
        check("web", CheckState::Good, "status 200"),
        check("sql", CheckState::Failed, "connection refused"),
        check("failback_when", CheckState::Failed, "30 s behind"),
    ];
    status.groups[0].resources[1].watch = Some(WatchStatus {
        looked: Some(Duration::from_secs(1)),
        lasts: Some(Duration::from_secs(9)),
        error: Some("nginx does not run".to_owned()),
        failing: 1,
        fall: 2,
        restarts: 1,
        budget: 3,
        forgotten_in: Some(Duration::from_secs(540)),
    });
    let page = render_status(&status, Screen { width: 200, ..WIDE });
    let expected =
        "  web            passing for 90 s, last run 1 s ago: status 200 (failed 1 time since)
! sql            failing for 90 s, last run 1 s ago: connection refused
  failback_when  failing for 90 s, last run 1 s ago: 30 s behind";
    assert_eq!(part(&page, "Checks of this node"), expected, "{page}");
    let line = "running; monitor failed 1 of 2 times: nginx does not run; restarted in place 1 of 3 times (the oldest restart no longer counts in";
    assert!(page.contains(line), "{page}");
    assert!(page.contains("1 problem, marked with !"), "{page}");
}
