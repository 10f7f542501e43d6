//! Scripts of the simulator: what is read is printed as it was meant, and does not harm who runs it.

use std::time::Duration;

use had::sim::{FaultScript, run};

use crate::harness::Target;

/// Longer ones are read, but take their time to run, as their author wanted.
const SHORT: Duration = Duration::from_secs(60);

#[test]
fn no_script_does_harm() {
    let usual = "# good for a try\nnodes alice bob\nping 10.0.0.254\nquorum stop\ngroup 10.0.0.1 on alice\n\
        step address : 10.0.0.1\nstep script : drbddisk::r0\nseed 17\n\nat 0s start alice\nat 0s start bob\nat 12.5s crash alice\n";
    let target = Target {
        name: "script",
        runs: 300,
        examples: vec![usual.into()],
        words: &[
            "nodes ",
            "ping ",
            "quorum off\n",
            "group g on bob\n",
            "step address : x\n",
            "seed ",
            "at 1s ",
            "at 1ns ",
            "at 5m ",
            "start ",
            "crash ",
            "kill ",
            "freeze ",
            "thaw ",
            "cut ",
            "heal\n",
            "alice ",
            "bob ",
            "alice bob ",
            "99999999999999999999s",
            "0.0000000001s",
            "1e9s",
            "-1s",
            "#",
            ":",
            "eth0",
        ],
    };
    target.fuzz(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match FaultScript::read(&text) {
            Ok(script) => {
                let printed = script.to_string();
                let again = FaultScript::read(&printed).map(|s| s.to_string());
                assert_eq!(again.as_ref(), Ok(&printed));
                if script.last_fault_at() <= SHORT && text.len() < 2000 {
                    drop(run(&script));
                }
            }
            Err(mistakes) => assert!(!mistakes.is_empty(), "refused without a word"),
        }
    });
}
