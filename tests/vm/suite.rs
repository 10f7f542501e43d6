//! Which scenarios there are, and how they are run: one after another, each from a kept moment of its setting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::apart::evidence;
use crate::image::Image;
use crate::machine::Init;
use crate::pair::Pair;
use crate::scenarios;

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
                let pair = Pair::boot(image, Init::Busybox, &scenarios::boots::EXTRA);
                pair.make_drbd();
                pair
            }
            Setting::Database => {
                let pair = Pair::boot(image, Init::Busybox, &scenarios::database::EXTRA);
                scenarios::database::make(&pair);
                pair
            }
            Setting::Systemd => Pair::boot(image, Init::Systemd, &scenarios::systemd::EXTRA),
        }
    }
}

struct Scenario {
    name: &'static str,
    setting: Setting,
    run: fn(&mut Pair),
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "boots",
        setting: Setting::Address,
        run: scenarios::boots::boots,
    },
    Scenario {
        name: "a unit is managed",
        setting: Setting::Systemd,
        run: scenarios::systemd::a_unit_is_managed,
    },
    Scenario {
        name: "cold start",
        setting: Setting::Database,
        run: scenarios::database::cold_start,
    },
    Scenario {
        name: "clean stop",
        setting: Setting::Database,
        run: scenarios::database::clean_stop,
    },
    Scenario {
        name: "power loss",
        setting: Setting::Database,
        run: scenarios::database::power_loss,
    },
];

/// Runs those whose names contain one of some texts, and says how each ended.
pub fn run(wanted: &str, image: &Image) -> ExitCode {
    let named = |name: &str| wanted.split('|').any(|w| name.contains(w));
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|s| named(s.name)).collect();
    assert!(!chosen.is_empty(), "no scenario is named like {wanted:?}");
    let mut ready: Option<(Setting, Pair)> = None;
    let mut table = String::new();
    let mut failed = 0;
    for scenario in chosen {
        println!("vm: {}", scenario.name);
        let begun = Instant::now();
        let good = catch_unwind(AssertUnwindSafe(|| one(scenario, &mut ready, image))).is_ok();
        failed += u32::from(!good);
        save_logs(scenario.name, ready.as_ref());
        let word = if good { "passed" } else { "FAILED" };
        let line = format!(
            "{word} {:6.1} s  {}\n",
            begun.elapsed().as_secs_f64(),
            scenario.name
        );
        print!("vm: {line}");
        table += &line;
    }
    print!("\nvm: scenarios\n{table}");
    ExitCode::from(u8::from(failed > 0))
}

fn one(scenario: &Scenario, ready: &mut Option<(Setting, Pair)>, image: &Image) {
    match ready {
        Some((setting, pair)) if *setting == scenario.setting && pair.rig.has_kept("ready") => {
            pair.rig.go_back("ready");
        }
        _ => {
            // The old machines go first: both have the same names.
            *ready = None;
            let begun = Instant::now();
            let (_, pair) = ready.insert((scenario.setting, scenario.setting.make(image)));
            pair.rig.keep("ready");
            println!(
                "vm: {:?} is ready after {:.1} s",
                scenario.setting,
                begun.elapsed().as_secs_f64()
            );
        }
    }
    let (_, pair) = ready.as_mut().unwrap();
    (scenario.run)(pair);
}

fn save_logs(name: &str, ready: Option<&(Setting, Pair)>) {
    let place = evidence(name);
    if let Some((_, pair)) = ready {
        pair.rig.save_logs(&place);
    }
}
