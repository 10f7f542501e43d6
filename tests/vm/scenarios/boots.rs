//! The least: two machines, their address, and the loss of one.

use crate::command::until_so;
use crate::files::{ADDRESS, Extra};
use crate::network::{NAMES, answers};
use crate::pair::Pair;

pub const EXTRA: Extra = Extra {
    haresources: "test6 IPaddr::10.1.88.199/24/eth0:1\n",
    ha_cf: "",
    files: &[],
};

/// Both run the daemon with the configuration of the seeds; the owner loses its power; the other takes over.
pub fn boots(pair: &mut Pair) {
    for name in NAMES {
        pair.on(name).sh("hactl check /etc/ha.d");
        pair.start_had(name);
    }
    for name in NAMES {
        pair.until_active(name);
    }
    pair.until_online("test6");
    answered_by(pair, "test6");
    pair.rig.machine_mut("test6").kill();
    pair.until_online("test7");
    answered_by(pair, "test7");
    pair.until_drbd("test7", "cstate", "WFConnection");
}

/// The address is answered from that machine's card.
pub fn answered_by(pair: &Pair, name: &str) {
    let card = pair.on(name).card(0);
    until_so(&format!("{name} answers for {ADDRESS}"), || {
        answers(ADDRESS).as_deref() == Some(&card)
    });
}
