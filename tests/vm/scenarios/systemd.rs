//! Units of systemd as resources, in machines that systemd starts and stops.

use had::model::status::Liveness;

use crate::files::Extra;
use crate::network::NAMES;
use crate::pair::{Pair, liveness};

pub const EXTRA: Extra = Extra {
    haresources: "test6 IPaddr::10.1.88.199/24/eth0:1 systemd::first systemd::second\n",
    ha_cf: "",
    files: &[
        (
            "etc/systemd/system/had.service",
            include_str!("../../../packaging/had.service"),
        ),
        (
            "etc/systemd/system/first.service",
            include_str!("../laid/first.service"),
        ),
        (
            "etc/systemd/system/second.service",
            include_str!("../laid/second.service"),
        ),
    ],
};
const ORDER: &str = "/var/log/order";

/// Units are started and stopped in the group's order, also when the whole machine shuts down: there systemd would stop all at once.
pub fn a_unit_is_managed(pair: &mut Pair) {
    for name in NAMES {
        pair.on(name).sh("hactl check && systemctl start had");
    }
    for name in NAMES {
        pair.until_active(name);
    }
    pair.until_online("test6");
    units_are(pair, "test6", "active");
    units_are(pair, "test7", "inactive");

    pair.on("test6").sh("hactl standby");
    pair.until_online("test7");
    units_are(pair, "test6", "inactive");
    units_are(pair, "test7", "active");

    pair.on("test6").sh("hactl standby off && hactl takeover");
    pair.until_online("test6");
    units_are(pair, "test6", "active");

    pair.on("test6").sh(&format!(": >{ORDER}"));
    pair.rig.machine_mut("test6").shut_down();
    pair.until_online("test7");
    pair.until_status("test7", "test6 said goodbye", |s| {
        liveness(s, "test6") == Some(Liveness::Left)
    });
    pair.rig.switch_on("test6");
    let order = pair.on("test6").sh(&format!("cat {ORDER}"));
    let order: Vec<&str> = order.lines().collect();
    let wanted = [
        "second stops",
        "second stopped",
        "first stops",
        "first stopped",
    ];
    assert_eq!(order, wanted, "not in the order of the group");
}

fn units_are(pair: &Pair, name: &str, state: &str) {
    for unit in ["first", "second"] {
        let output = pair.on(name).run(&format!("systemctl is-active {unit}"));
        assert_eq!(output.stdout.trim(), state, "{unit} on {name}");
    }
}
