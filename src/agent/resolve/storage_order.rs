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
const SHARED_STORAGE: [&str; 21] = [
    "drbddisk",
    "drbdupper",
    "drbd",
    "Filesystem",
    "LVM",
    "LVM-activate",
    "clvm",
    "Raid1",
    "mdraid",
    "ManageRAID",
    "vdo-vol",
    "ZFS",
    "crypt",
    "sfex",
    "LinuxSCSI",
    "ICP",
    "ServeRAID",
    "iscsi",
    "oraasm",
    "openstack-cinder-volume",
    "gcp-pd-move",
];
/// Resources that give a disk or a file system of their group to others: servers, and virtual machines. What they stand on
/// may be guarded. Agents, then the names of Debian's and Red Hat's units and scripts.
const STORAGE_SERVERS: [&str; 25] = [
    "exportfs",
    "nfsserver",
    "iSCSITarget",
    "iSCSILogicalUnit",
    "nvmet-subsystem",
    "nvmet-namespace",
    "nvmet-port",
    "AoEtarget",
    "CTDB",
    "VirtualDomain",
    "Xen",
    "lxc",
    "ManageVE",
    "nfs",
    "nfs-server",
    "nfs-kernel-server",
    "nfs-ganesha",
    "target",
    "targetcli",
    "rtslib-fb-targetctl",
    "tgt",
    "tgtd",
    "iscsitarget",
    "iscsi-target",
    "glusterd",
];

/// A resource word, with what the configuration says of it.
#[derive(Clone, Copy)]
pub struct StepWord<'a> {
    /// The word.
    pub token: &'a Token,
    /// Its deadlines.
    pub timeouts: Timeouts,
    /// `takeover_waits`, if it names this word.
    pub waits: Option<bool>,
}

impl<'a> StepWord<'a> {
    /// A word of which the configuration says nothing.
    pub fn usual(token: &'a Token) -> Self {
        StepWord {
            token,
            timeouts: Timeouts::default(),
            waits: None,
        }
    }
}

/// Gathers words into steps: consecutive addresses become one step, whose deadlines are the longest of its members. Only the
/// names count; nothing is looked up on this machine. `guarded` are the words for `wait_for_storage`.
pub fn steps(words: &[StepWord<'_>], guarded: &[String]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for StepWord {
        token, timeouts, ..
    } in words
    {
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
    wait_for_storage(&mut steps, words, guarded);
    steps
}

/// Whether a word is in this list: by its name, as an OCF agent, or as a unit of systemd.
fn is_listed(word: &str, list: &[&str]) -> bool {
    let name = word.split("::").next().unwrap_or_default();
    let agent = notation::agent_type(word);
    let unit = name.strip_prefix("systemd:");
    let unit = unit.map(|u| u.strip_suffix(".service").unwrap_or(u));
    list.contains(&agent.as_deref().or(unit).unwrap_or(name))
}

fn is_shared_storage(word: &str) -> bool {
    let mount = word.starts_with("systemd:") && word.ends_with("mount");
    mount || is_listed(word, &SHARED_STORAGE)
}

/// Sets how long a takeover from a dead node waits for each step. It waits until that node must have released shared storage
/// and everything that uses it. It does not wait for other resources: they are cut off with the address, and waiting for the
/// stop deadline of each would make every takeover slow. `guarded` storage cannot be used by two nodes at once, so there the
/// takeover waits for a short time only. The administrator's word on a resource wins.
fn wait_for_storage(steps: &mut [Step], words: &[StepWord<'_>], guarded: &[String]) {
    let wish = |word: &String| words.iter().find(|w| w.token.text == *word)?.waits;
    let (mut waits, mut stands_on_guarded) = (false, false);
    for step in steps.iter_mut().filter(|s| !s.addresses) {
        let is_guarded = step.members.iter().any(|word| guarded.contains(word));
        let needs_wait = |word: &String| {
            let storage = is_shared_storage(word) && !guarded.contains(word);
            let server = is_listed(word, &STORAGE_SERVERS) && !stands_on_guarded;
            wish(word).unwrap_or(storage || server)
        };
        waits |= step.members.iter().any(needs_wait);
        if waits && step.members.iter().all(|word| wish(word) != Some(false)) {
            step.shared_storage = true;
            step.removal = step.stop;
        } else if !waits && is_guarded && !stands_on_guarded {
            step.removal = step.stop.min(GUARDED_REMOVAL);
        }
        stands_on_guarded |= is_guarded;
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
            let word = |token| StepWord {
                timeouts,
                ..StepWord::usual(token)
            };
            let words: Vec<_> = tokens.iter().map(word).collect();
            let guarded: Vec<String> = guarded.iter().map(ToString::to_string).collect();
            let steps = steps(&words, &guarded);
            // Only storage that does not guard itself, and what stands on it, is shared.
            let shared = |s: &Step| s.removal == timeouts.stop;
            assert!(steps.iter().all(|s| s.shared_storage == shared(s)));
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

    /// The seconds that a takeover waits for each word, where `yes` and `no` are the words of `takeover_waits`.
    fn waited(words: &[&str], guarded: &[&str], yes: &str, no: &str) -> Vec<u64> {
        let token = |text: &&str| Token {
            name: text.split("::").next().unwrap().into(),
            args: Vec::new(),
            text: (*text).into(),
        };
        let tokens: Vec<Token> = words.iter().map(token).collect();
        let timeouts = Timeouts {
            stop: Duration::from_secs(30),
            ..Timeouts::default()
        };
        let wish = |text: &str| match text {
            _ if text == yes => Some(true),
            _ if text == no => Some(false),
            _ => None,
        };
        let words: Vec<_> = tokens
            .iter()
            .map(|token| StepWord {
                token,
                timeouts,
                waits: wish(&token.text),
            })
            .collect();
        let guarded: Vec<String> = guarded.iter().map(ToString::to_string).collect();
        let steps = steps(&words, &guarded);
        steps.iter().map(|s| s.removal.as_secs()).collect()
    }

    #[test]
    fn the_word_of_the_administrator_wins() {
        let words = ["myscript", "Filesystem::x", "mysqld"];
        assert_eq!(waited(&words, &[], "", ""), [0, 30, 30]);
        assert_eq!(waited(&words, &[], "myscript", ""), [30, 30, 30]);
        assert_eq!(waited(&words, &[], "", "Filesystem::x"), [0, 0, 0]);
        assert_eq!(waited(&words, &[], "", "mysqld"), [0, 30, 0]);
        assert_eq!(waited(&words, &[], "mysqld", "Filesystem::x"), [0, 0, 30]);
    }

    #[test]
    fn a_server_of_storage_is_waited_for_unless_it_stands_on_guarded_storage() {
        let names = [
            "nfs-kernel-server",
            "systemd:target.service",
            "ocf:heartbeat:exportfs::fsid=1",
            "VirtualDomain::config=x",
        ];
        for name in names {
            assert_eq!(waited(&[name], &[], "", ""), [30], "{name}");
            let words = ["drbddisk::r0", name];
            assert_eq!(waited(&words, &words[..1], "", ""), [10, 0], "{name}");
            assert_eq!(waited(&words, &words[..1], name, ""), [10, 30], "{name}");
        }
    }
}
