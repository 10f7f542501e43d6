//! How much virtual time is simulated in a minute: two nodes with one group and a keepalive of one second.

use std::time::Instant;

use had::sim::{FaultScript, run};

const DAYS: f64 = 2.0;

pub fn measure() {
    let text = "nodes a b\nkeepalive 1s\nwarntime 5s\ndeadtime 10s\ninitdead 20s\ngroup db on a\n\
                step address : 10.0.0.1\nfor 2d\nat 0s start a\nat 0s start b\nat 1d crash a\nat 1.5d start a\n";
    let script = FaultScript::read(text).unwrap();
    let begun = Instant::now();
    let report = run(&script);
    let took = begun.elapsed();
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let a_minute = DAYS / took.as_secs_f64() * 60.0;
    println!(
        "simulated: two nodes, keepalive 1 s: {DAYS} days in {took:.1?} and {} steps, {a_minute:.0} days a minute",
        report.steps
    );
}
