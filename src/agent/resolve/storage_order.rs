//! What the names of resources alone tell the engine: which words run together in a step, and which of them stand on
//! storage that another node may still have open.

use std::time::Duration;

use crate::agent::external::ocf::notation;
use crate::agent::resolve::{ADDRESS_NAMES, Timeouts};
use crate::model::cluster::Step;
use crate::model::token::Token;

/// How long a node that was cut off may take to stop what it cannot write to any more, in the usual course.
const GUARDED: Duration = Duration::from_secs(10);
/// Resources whose data another node may open at the same time, to its ruin.
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

/// What each word would be for the engine, as far as its name tells: nothing is looked up on this machine.
pub fn steps(tokens: &[Token], timeouts: &dyn Fn(&Token) -> Timeouts) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for token in tokens {
        let addresses = ADDRESS_NAMES.contains(&token.name.as_str());
        let times = timeouts(token);
        match steps.last_mut().filter(|s| s.addresses && addresses) {
            Some(run) => {
                run.members.push(token.text.clone());
                run.start = run.start.max(times.start);
                run.stop = run.stop.max(times.stop);
            }
            None => steps.push(Step {
                members: vec![token.text.clone()],
                addresses,
                start: times.start,
                stop: times.stop,
                monitor: times.monitor,
                removal: Duration::ZERO,
                policy: None,
            }),
        }
    }
    wait_for_storage(steps.iter_mut(), &[]);
    steps
}

/// Whether a word is one of those, also as an OCF agent or as a mount unit.
fn is_shared_storage(word: &str) -> bool {
    let name = word.split("::").next().unwrap_or_default().to_owned();
    let name = notation::kind(word).unwrap_or(name);
    let mount = word.starts_with("systemd:") && word.ends_with("mount");
    mount || SHARED_STORAGE.contains(&name.as_str())
}

/// A takeover from a dead node waits until that node must have let go of shared storage and of all that stands on it.
/// It does not wait for other scripts: what they run is cut off with the address, and to wait for the stop deadline of
/// each would make every takeover slow. Storage that is `guarded` nobody can use at the same time: there it waits only for the
/// usual course, in which the other has stopped before.
pub fn wait_for_storage<'a>(steps: impl Iterator<Item = &'a mut Step>, guarded: &[String]) {
    let unguarded = |word: &String| is_shared_storage(word) && !guarded.contains(word);
    let shared = |s: &Step| !s.addresses && s.members.iter().any(unguarded);
    let (mut waits, mut waited) = (false, false);
    for step in steps.filter(|s| !s.addresses) {
        waits |= shared(step);
        if waits {
            step.removal = step.stop;
        } else if !waited && step.members.iter().any(|word| guarded.contains(word)) {
            step.removal = step.stop.min(GUARDED);
            waited = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_that_two_can_use_is_waited_for_and_what_guards_itself_a_moment() {
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
            let mut steps = steps(&tokens, &|_| Timeouts {
                stop: Duration::from_secs(30),
                ..Timeouts::default()
            });
            for step in &mut steps {
                step.removal = Duration::ZERO;
            }
            let guarded: Vec<String> = guarded.iter().map(ToString::to_string).collect();
            wait_for_storage(steps.iter_mut(), &guarded);
            steps.iter().map(|s| s.removal).collect()
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
