//! The network between the guests, in a namespace that is this process's alone: two switches, a port for each card, and on
//! this side the client and the gateway. Cables are cut here, programs' traffic is blocked inside the guests.

use std::process::Command;

use crate::command::{feed, run};

/// The service, DRBD, and heartbeats; a second path of heartbeats.
pub const NETS: [&str; 2] = ["lan", "ha"];
/// Where the client is, and the gateway that is pinged.
const OURS: [&[&str]; 2] = [&["10.1.88.1/24", "10.1.88.254/24"], &["10.99.88.1/24"]];

/// The two guests.
pub const NAMES: [&str; 2] = ["test6", "test7"];

/// The addresses of a guest's cards, `eth0` first.
pub fn cards(name: &str) -> [&'static str; 2] {
    if name == NAMES[0] {
        ["10.1.88.175/24", "10.99.88.175/24"]
    } else {
        ["10.1.88.179/24", "10.99.88.179/24"]
    }
}

/// The end of a guest's cable.
pub fn port(name: &str, net: &str) -> String {
    format!("{name}-{net}")
}

/// Makes switches and ports; the namespace is new.
pub fn build() {
    let mut orders = "link set lo up\n".to_owned();
    for (net, addresses) in NETS.iter().zip(OURS) {
        orders += &format!("link add {net} type bridge stp_state 0 forward_delay 0\n");
        for address in addresses {
            orders += &format!("addr add {address} dev {net}\n");
        }
        orders += &format!("link set {net} up\n");
        for name in NAMES {
            let port = port(name, net);
            orders += &format!("tuntap add dev {port} mode tap\n");
            orders += &format!("link set {port} master {net} up\n");
        }
    }
    feed(Command::new("ip").args(["-batch", "-"]), &orders);
    // A port that is out of its switch stays silent.
    run("sysctl", &["-qw", "net.ipv4.conf.all.arp_ignore=1"]);
}

/// A guest reaches nobody on a net. It sees no change of carrier.
pub fn unplug(name: &str, net: &str) {
    run("ip", &["link", "set", &port(name, net), "nomaster"]);
}

/// Undoes all of it.
pub fn heal() {
    for net in NETS {
        for name in NAMES {
            run("ip", &["link", "set", &port(name, net), "master", net]);
        }
    }
}

/// Who answers for an address of the lan, by the number of the guest's card; nobody where nobody does.
pub fn answers(address: &str) -> Option<String> {
    let output = Command::new("arping")
        .args(["-I", "lan", "-c", "1", "-w", "2", "-f", address])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let card = said.split('[').nth(1)?.split(']').next()?;
    Some(card.to_lowercase())
}
