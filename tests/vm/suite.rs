//! Which scenarios there are, and how they are run: one after another, each from a kept moment of its setting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::apart::evidence;
use crate::image::Image;
use crate::machine::Init;
use crate::pair::Pair;
use crate::scenarios::{boots, busy, database, frozen, links, split, systemd, times};

/// In what machines a scenario begins. They are made once, and returned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// One address; DRBD is connected and in sync.
    Address,
    /// The whole stack; all is down.
    Database,
    /// systemd is init, and units are resources.
    Systemd,
}

impl Setting {
    fn make(self, image: &Image) -> Pair {
        match self {
            Setting::Address => {
                let pair = Pair::boot(image, Init::Busybox, &boots::EXTRA);
                pair.make_drbd();
                pair
            }
            Setting::Database => {
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
    ("clean stop", Setting::Database, database::clean_stop),
    (
        "replication link cut",
        Setting::Database,
        links::replication_cut,
    ),
    ("heartbeats cut", Setting::Database, links::heartbeats_cut),
    ("all links cut", Setting::Database, links::all_cut),
    ("split brain", Setting::Database, split::split_brain),
    ("busy mount", Setting::Database, busy::held_by_processes),
    (
        "mount that cannot be undone",
        Setting::Database,
        busy::held_by_the_kernel,
    ),
    ("paused owner", Setting::Database, frozen::paused),
    ("power loss", Setting::Database, database::power_loss),
    ("times of had", Setting::Database, times::of_had),
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
        save_logs(scenario.0, ready.as_mut());
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

fn one(scenario: &Scenario, ready: &mut Option<(Setting, Pair)>, image: &Image) {
    match ready {
        Some((setting, pair)) if *setting == scenario.1 && pair.rig.has_kept("ready") => {
            pair.rig.go_back("ready");
        }
        _ => {
            // The old machines go first: both have the same names.
            *ready = None;
            let begun = Instant::now();
            let (_, pair) = ready.insert((scenario.1, scenario.1.make(image)));
            pair.rig.keep("ready");
            println!(
                "vm: {:?} is ready after {:.1} s",
                scenario.1,
                begun.elapsed().as_secs_f64()
            );
        }
    }
    let (_, pair) = ready.as_mut().unwrap();
    (scenario.2)(pair);
}

fn save_logs(name: &str, ready: Option<&mut (Setting, Pair)>) {
    let place = evidence(name);
    if let Some((_, pair)) = ready {
        pair.rig.save_logs(&place);
    }
}
