//! Which scenarios there are, and how they are run: one after another, each from a kept moment of its setting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::apart::evidence;
use crate::image::Image;
use crate::machine::Init;
use crate::pair::Pair;
use crate::scenarios::{boots, busy, database, frozen, links, split, systemd, times};

/// The moment when machines are made.
const READY: &str = "ready";

/// In what machines a scenario begins. They are made once, and returned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// One address; DRBD is connected and in sync.
    Address,
    /// The whole stack; all is down, and no daemon runs.
    Database,
    /// The same machines: both daemons run, test6 has the stack, and a client gets answers.
    Running,
    /// systemd is init, and units are resources.
    Systemd,
}

impl Setting {
    /// Whose machines it has.
    fn machines(self) -> Setting {
        match self {
            Setting::Running => Setting::Database,
            other => other,
        }
    }

    /// The kept moment in which it begins.
    fn moment(self) -> &'static str {
        match self {
            Setting::Running => "running",
            _ => READY,
        }
    }

    fn make(self, image: &Image) -> Pair {
        match self {
            Setting::Address => {
                let pair = Pair::boot(image, Init::Busybox, &boots::EXTRA);
                pair.make_drbd();
                pair
            }
            Setting::Database | Setting::Running => {
                let pair = Pair::boot(image, Init::Busybox, &database::EXTRA);
                database::make(&pair);
                pair
            }
            Setting::Systemd => Pair::boot(image, Init::Systemd, &systemd::EXTRA),
        }
    }
}

/// Name, setting, what is done.
type Scenario = (&'static str, Setting, fn(&mut Pair));

/// Those of one setting stand together, so that its machines are booted once.
const SCENARIOS: [Scenario; 14] = [
    ("boots", Setting::Address, boots::boots),
    (
        "a unit is managed",
        Setting::Systemd,
        systemd::a_unit_is_managed,
    ),
    ("cold start", Setting::Database, database::cold_start),
    ("clean stop", Setting::Running, database::clean_stop),
    (
        "replication link cut",
        Setting::Running,
        links::replication_cut,
    ),
    ("heartbeats cut", Setting::Running, links::heartbeats_cut),
    ("all links cut", Setting::Running, links::all_cut),
    ("split brain", Setting::Running, split::split_brain),
    ("busy mount", Setting::Running, busy::held_by_processes),
    (
        "mount that cannot be undone",
        Setting::Running,
        busy::held_by_the_kernel,
    ),
    ("paused owner", Setting::Running, frozen::paused),
    ("power loss", Setting::Running, database::power_loss),
    ("times of had", Setting::Running, times::of_had),
    ("times of heartbeat", Setting::Database, times::of_heartbeat),
];

/// Runs those whose names contain one of some texts, and says how each ended.
pub fn run(wanted: &str, image: &Image) -> ExitCode {
    let named = |name: &str| wanted.split('|').any(|w| name.contains(w));
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|s| named(s.0)).collect();
    assert!(!chosen.is_empty(), "no scenario is named like {wanted:?}");
    let mut ready: Option<(Setting, Pair)> = None;
    let mut table = String::new();
    let mut failed = 0;
    for scenario in chosen {
        println!("vm: {}", scenario.0);
        let begun = Instant::now();
        let good = catch_unwind(AssertUnwindSafe(|| one(scenario, &mut ready, image))).is_ok();
        failed += u32::from(!good);
        if let Some((_, pair)) = &mut ready {
            save_logs(scenario.0, pair);
        }
        let word = if good { "passed" } else { "FAILED" };
        let line = format!(
            "{word} {:6.1} s  {}\n",
            begun.elapsed().as_secs_f64(),
            scenario.0
        );
        print!("vm: {line}");
        table += &line;
    }
    print!("\nvm: scenarios\n{table}");
    ExitCode::from(u8::from(failed > 0))
}

/// Brings the machines to where a scenario begins, and does it.
fn one(scenario: &Scenario, ready: &mut Option<(Setting, Pair)>, image: &Image) {
    let (_, setting, run) = scenario;
    let machines = setting.machines();
    let there = |(made, pair): &(Setting, Pair)| *made == machines && pair.rig.has_kept(READY);
    let fresh = !ready.as_ref().is_some_and(there);
    if fresh {
        // The old machines go first: both have the same names.
        *ready = None;
        let (_, pair) = ready.insert((machines, machines.make(image)));
        pair.rig.keep(READY);
    }
    let (_, pair) = ready.as_mut().unwrap();
    let moment = setting.moment();
    if !pair.rig.has_kept(moment) {
        if !fresh {
            pair.rig.go_back(READY);
        }
        database::start(pair);
        pair.rig.keep(moment);
    } else if !(fresh && moment == READY) {
        pair.rig.go_back(moment);
    }
    run(pair);
}

fn save_logs(name: &str, pair: &mut Pair) {
    let place = evidence(name);
    pair.rig.save_logs(&place);
}
