//! What the names of resources tell the engine: which words form one step, and which steps use storage that another node may
//! still have open.

use std::time::Duration;

use crate::agent::external::ocf::notation;
use crate::agent::resolve::ADDRESS_NAMES;
use crate::model::cluster::{Step, Timeouts};
use crate::model::token::Token;

/// How long a takeover waits for a node that was cut off to stop resources that it can no longer write to. In general they
/// stop sooner.
const GUARDED_REMOVAL: Duration = Duration::from_secs(10);
/// Resources whose data is damaged if two nodes use it at the same time.
const SHARED_STORAGE: [&str; 14] = [
    "drbddisk",
    "drbdupper",
    "drbd",
    "Filesystem",
    "LVM",
    "LVM-activate",
    "Raid1",
    "mdraid",
    "ZFS",
    "crypt",
    "sfex",
    "LinuxSCSI",
    "ICP",
    "ServeRAID",
];

/// Gathers words into steps: consecutive addresses become one step, whose deadlines are the longest of its members. Only the
/// names count; nothing is looked up on this machine. `guarded` are the words for `wait_for_storage`.
pub fn steps(words: &[(&Token, Timeouts)], guarded: &[String]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (token, timeouts) in words {
        let addresses = ADDRESS_NAMES.contains(&token.name.as_str());
        match steps.last_mut().filter(|s| s.addresses && addresses) {
            Some(run) => {
                run.members.push(token.text.clone());
                run.start = run.start.max(timeouts.start);
                run.stop = run.stop.max(timeouts.stop);
                run.monitor = run.monitor.max(timeouts.monitor);
            }
            None => steps.push(Step::new(vec![token.text.clone()], addresses, *timeouts)),
        }
    }
    wait_for_storage(&mut steps, guarded);
    steps
}

/// Whether a word is in that list, also as an OCF agent or as a mount unit.
fn is_shared_storage(word: &str) -> bool {
    let name = word.split("::").next().unwrap_or_default().to_owned();
    let name = notation::agent_type(word).unwrap_or(name);
    let mount = word.starts_with("systemd:") && word.ends_with("mount");
    mount || SHARED_STORAGE.contains(&name.as_str())
}

/// Sets how long a takeover from a dead node waits for each step. It waits until that node must have released shared storage
/// and everything that uses it. It does not wait for other resources: they are cut off with the address, and waiting for the
/// stop deadline of each would make every takeover slow. `guarded` storage cannot be used by two nodes at once, so there the
/// takeover waits for a short time only.
fn wait_for_storage(steps: &mut [Step], guarded: &[String]) {
    let unguarded = |word: &String| is_shared_storage(word) && !guarded.contains(word);
    let shared = |s: &Step| !s.addresses && s.members.iter().any(unguarded);
    let (mut waits, mut waited) = (false, false);
    for step in steps.iter_mut().filter(|s| !s.addresses) {
        waits |= shared(step);
        if waits {
            step.removal = step.stop;
        } else if !waited && step.members.iter().any(|word| guarded.contains(word)) {
            step.removal = step.stop.min(GUARDED_REMOVAL);
            waited = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_waits_for_shared_storage_and_shortly_for_guarded_storage() {
        let secs = |n: &u64| Duration::from_secs(*n);
        let words = [
            "10.0.0.1",
            "script",
            "drbddisk::db",
            "Filesystem::/dev/drbd1",
            "mysqld",
            "LVM::x",
            "last",
        ];
        let removals = |guarded: &[&str]| -> Vec<Duration> {
            let token = |text: &&str| {
                let name = if text.starts_with("10.") {
                    "IPaddr"
                } else {
                    text.split("::").next().unwrap()
                };
                Token {
                    name: name.into(),
                    args: Vec::new(),
                    text: (*text).into(),
                }
            };
            let tokens: Vec<Token> = words.iter().map(token).collect();
            let timeouts = Timeouts {
                stop: Duration::from_secs(30),
                ..Timeouts::default()
            };
            let words: Vec<_> = tokens.iter().map(|token| (token, timeouts)).collect();
            let guarded: Vec<String> = guarded.iter().map(ToString::to_string).collect();
            steps(&words, &guarded).iter().map(|s| s.removal).collect()
        };
        let wanted = |all: [u64; 7]| all.iter().map(secs).collect::<Vec<_>>();
        assert_eq!(removals(&[]), wanted([0, 0, 30, 30, 30, 30, 30]));
        assert_eq!(
            removals(&["drbddisk::db"]),
            wanted([0, 0, 10, 30, 30, 30, 30])
        );
        let both = ["drbddisk::db", "Filesystem::/dev/drbd1"];
        assert_eq!(removals(&both), wanted([0, 0, 10, 0, 0, 30, 30]));
    }
}
