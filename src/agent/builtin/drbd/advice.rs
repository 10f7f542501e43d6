//! What a state of DRBD allows, and the text for an administrator if it does not.

use crate::model::drbd::{Connection, Disk, Role, State};

/// What a start can do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing: this side is Primary.
    Done,
    /// Try to become Primary.
    Promote,
    /// The same, although a connected peer is Primary: it may have just died.
    PeerIsPrimary,
    /// Wait: it may become possible by itself.
    Wait(String),
    /// Fail: it will not become possible by itself.
    Refuse(String),
}

/// The peer is Primary although its node is not heard.
pub const UNHEARD_PRIMARY: &str = "the peer is Primary and answers on the replication link, although its heartbeats are not heard: repair the cluster's links";

/// The text for a resource that is not up.
pub fn not_up(resource: &str) -> String {
    format!(
        "{resource} is not up on this node, so the state of its data is not known: systemctl start drbd, or modprobe drbd and drbdadm up {resource}"
    )
}

/// The text for a split brain.
pub fn split_brain(resource: &str) -> String {
    format!(
        "split brain: both sides of {resource} have data that the other lacks; hactl drbd {resource} shows both, and how to choose one"
    )
}

/// What a start can do next. `split` tells whether the kernel found a split brain.
pub fn next_step(resource: &str, state: &State, split: bool) -> NextStep {
    if state.role == Role::Primary {
        return NextStep::Done;
    }
    if state.volumes.is_empty() {
        let text = format!("{resource} has no disk here: drbdadm adjust {resource}");
        return NextStep::Refuse(text);
    }
    let disks = state.volumes.iter().map(|v| &v.disk);
    let mut obstacles = disks.filter_map(|disk| disk_obstacle(resource, disk, state));
    if let Some(obstacle) = obstacles.next() {
        return obstacle;
    }
    if split && state.stands_alone() {
        return NextStep::Refuse(split_brain(resource));
    }
    if state.peer_is_primary() {
        return NextStep::PeerIsPrimary;
    }
    NextStep::Promote
}

/// Why a disk of this side keeps it from becoming Primary.
fn disk_obstacle(resource: &str, disk: &Disk, state: &State) -> Option<NextStep> {
    let met = state.connected();
    Some(match disk {
        Disk::UpToDate => return None,
        // The kernel asks the fence-peer handler of drbd.conf.
        Disk::Consistent if !met => return None,
        Disk::Consistent | Disk::Attaching | Disk::Negotiating => NextStep::Wait(format!(
            "{disk}: its data is being compared with that of its peer"
        )),
        Disk::Inconsistent if state.is_synced_from_peer() => NextStep::Wait(syncing(state)),
        Disk::Outdated if met => NextStep::Wait(syncing(state)),
        Disk::Outdated => NextStep::Refuse(format!(
            "Outdated: the data of {resource} here is older than its peer's; start the peer, and DRBD synchronises it. Only if the peer and what was written there are lost for good: drbdadm primary --force {resource}"
        )),
        Disk::Inconsistent => NextStep::Refuse(format!(
            "Inconsistent: the data of {resource} here is incomplete; start the peer, and DRBD synchronises it. On a new pair choose the good side once: drbdadm primary --force {resource}"
        )),
        Disk::Diskless | Disk::Failed | Disk::Detaching => NextStep::Refuse(format!(
            "{disk}: {resource} has no disk on this node: it was detached or it failed (see dmesg); repair it, then drbdadm attach {resource}"
        )),
        Disk::DUnknown | Disk::Other(_) => NextStep::Refuse(format!(
            "{disk}: the state of the data of {resource} here is not known; see drbdadm status {resource}"
        )),
    })
}

fn syncing(state: &State) -> String {
    let left = state.out_of_sync();
    format!("its data is being synchronised from its peer, {left} KiB left")
}

/// Whether a node can run what uses the resource: its state, or why not.
pub fn fitness(resource: &str, state: Option<&State>, split: bool) -> Result<String, String> {
    let Some(state) = state else {
        return Err(not_up(resource));
    };
    if split && state.stands_alone() {
        return Err(split_brain(resource));
    }
    if state.stands_alone() {
        return Err(format!(
            "StandAlone: {resource} is not replicated, because its connection was given up; if that was done by hand: drbdadm connect {resource}"
        ));
    }
    let disks = state.volumes.iter().map(|v| &v.disk);
    let mut obstacles = disks.filter_map(|disk| disk_obstacle(resource, disk, state));
    match obstacles.next() {
        _ if state.volumes.is_empty() => Err(format!("{resource} has no disk here")),
        Some(NextStep::Wait(why) | NextStep::Refuse(why)) => Err(why),
        _ if !state.up_to_date() => {
            Err("Consistent: only the peer knows whether this data is the newest".to_owned())
        }
        _ => Ok(state.to_string()),
    }
}

/// Whether a connection may still come up.
pub fn may_connect(state: &State) -> bool {
    let tries = |c: &Connection| !matches!(c, Connection::StandAlone | Connection::Disconnecting);
    !state.connected() && state.peers.iter().any(|p| tries(&p.connection))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd::{Peer, PeerVolume, Volume};

    /// `ROLE DISK CONNECTION PEER-ROLE [REPLICATION]`
    fn state(text: &str) -> State {
        let words: Vec<&str> = text.split(' ').collect();
        let word = |nth: usize| words.get(nth).copied().unwrap_or("Established").to_owned();
        let volumes = vec![Volume {
            volume: 0,
            minor: 1,
            disk: word(1).into(),
        }];
        let of_peer = PeerVolume {
            volume: 0,
            disk: Disk::UpToDate,
            replication: word(4),
            out_of_sync: 12,
        };
        State {
            role: word(0).into(),
            suspended: false,
            volumes,
            peers: vec![Peer {
                connection: word(2).into(),
                role: word(3).into(),
                volumes: vec![of_peer],
            }],
        }
    }

    fn told(next: &NextStep) -> String {
        match next {
            NextStep::Wait(text) => format!("wait {text}"),
            NextStep::Refuse(text) => format!("refuse {text}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_state_allows_what_loses_nothing() {
        for (text, split, wanted) in [
            ("Primary UpToDate Connected Secondary", false, "Done"),
            ("Primary Diskless Connected Secondary", false, "Done"),
            ("Secondary UpToDate Connected Secondary", false, "Promote"),
            (
                "Secondary UpToDate Connected Primary",
                false,
                "PeerIsPrimary",
            ),
            ("Secondary UpToDate Connecting Unknown", false, "Promote"),
            ("Secondary Consistent Connecting Unknown", false, "Promote"),
            ("Secondary UpToDate StandAlone Unknown", false, "Promote"),
            (
                "Secondary UpToDate StandAlone Unknown",
                true,
                "refuse split brain",
            ),
            ("Secondary UpToDate Connecting Unknown", true, "Promote"),
            (
                "Secondary Consistent Connected Secondary",
                false,
                "wait Consistent",
            ),
            (
                "Secondary Negotiating Connected Unknown",
                false,
                "wait Negotiating",
            ),
            (
                "Secondary Inconsistent Connected Primary SyncTarget",
                false,
                "12 KiB",
            ),
            (
                "Secondary Inconsistent Connected Secondary",
                false,
                "refuse Inconsistent",
            ),
            (
                "Secondary Inconsistent Connecting Unknown Off",
                false,
                "refuse Inconsistent",
            ),
            (
                "Secondary Outdated Connecting Unknown",
                false,
                "refuse Outdated",
            ),
            (
                "Secondary Outdated Connected Primary",
                false,
                "wait its data",
            ),
            (
                "Secondary Diskless Connected Primary",
                false,
                "refuse Diskless",
            ),
            ("Secondary Better Connected Primary", false, "refuse Better"),
        ] {
            let found = told(&next_step("db", &state(text), split));
            assert!(found.contains(wanted), "{text}: {found}");
        }
    }

    #[test]
    fn who_is_fit_has_the_newest_data_as_far_as_known() {
        for (text, split, wanted) in [
            ("Primary UpToDate Connected Secondary", false, None),
            ("Secondary UpToDate Connected Primary", false, None),
            ("Primary UpToDate Connecting Unknown", false, None),
            (
                "Secondary UpToDate StandAlone Unknown",
                false,
                Some("StandAlone"),
            ),
            (
                "Primary UpToDate StandAlone Unknown",
                true,
                Some("split brain"),
            ),
            (
                "Secondary Consistent Connecting Unknown",
                false,
                Some("Consistent"),
            ),
            (
                "Secondary Outdated Connecting Unknown",
                false,
                Some("Outdated"),
            ),
            (
                "Primary Diskless Connected Secondary",
                false,
                Some("Diskless"),
            ),
            (
                "Secondary Inconsistent Connected Primary SyncTarget",
                false,
                Some("12 KiB"),
            ),
        ] {
            let found = fitness("db", Some(&state(text)), split);
            match wanted {
                None => assert_eq!(found, Ok(state(text).to_string())),
                Some(part) => assert!(
                    found.as_ref().is_err_and(|e| e.contains(part)),
                    "{text}: {found:?}"
                ),
            }
        }
        assert!(
            fitness("db", None, false)
                .unwrap_err()
                .contains("drbdadm up db")
        );
    }
}
