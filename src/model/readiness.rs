//! Whether a node could take groups over: what it lacks, and what must be alike on all nodes. Each node looks at itself and
//! publishes what it finds. Nothing is decided by it: it is for people, before a failover needs it.
//!
//! Heartbeats carry all of it, and one that outgrows a packet is not relayed. So reasons are short, and a tree is published
//! as two numbers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::GroupName;
use crate::text::one_line;

/// How often a node looks at itself.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After so long a node has told what was wrong before: at its next look, and at the one that confirms it.
pub const TOLD_WITHIN: Duration = Duration::from_secs(40);
/// A node publishes so many reasons at most, with so many bytes of text and group names.
const MAX_LACKS: usize = 4;
const MAX_LACK_BYTES: usize = 240;
/// A published reason has so many characters at most.
const MAX_LACK_CHARS: usize = 100;
/// A version has so many characters at most.
const MAX_VERSION_CHARS: usize = 32;
/// So many trees can be compared.
pub const MAX_TREES: usize = 8;
/// What stands for the reasons for which there is no room.
const MORE: &str = "there is more; run hactl check there";

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Readiness {
    /// The version of had that runs there; empty before the first look.
    pub version: String,
    /// The families of IP for which it has a default route.
    pub routes: DefaultRoutes,
    /// Those for which it has had one while no group ran there, since its daemon started or read new files. A route that
    /// comes with a group is not missing where the group is not.
    pub usual_routes: DefaultRoutes,
    /// What it lacks.
    pub lacks: Vec<Lack>,
    /// The trees that ha.cf names with `compare`.
    pub trees: Vec<ComparedTree>,
}

/// For which families of IP a node has a default route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DefaultRoutes {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// Something without which a node could not run a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lack {
    /// The only group that needs it. `None` means all groups.
    pub group: Option<GroupName>,
    /// What is wrong, with what to do.
    pub text: String,
}

/// The content of a file, or of all files below a folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ComparedTree {
    /// Its path in ha.cf. Only the node itself knows it.
    pub path: Option<String>,
    /// Stands for the path.
    pub key: u32,
    /// Stands for all names and contents; none if it cannot be read. What is wrong is among the lacks then.
    pub digest: Option<u32>,
}

impl ComparedTree {
    /// A tree of this node.
    pub fn of(path: &str, digest: Option<u32>) -> Self {
        // FNV-1a: the same on every node and in every version.
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        ComparedTree {
            path: Some(path.to_owned()),
            key: path.bytes().fold(0x811c_9dc5, mix),
            digest,
        }
    }
}

impl DefaultRoutes {
    /// The families for which another node has a route and this one has not, in words.
    pub fn lacking(self, other: DefaultRoutes) -> Option<&'static str> {
        match (other.v4 && !self.v4, other.v6 && !self.v6) {
            (true, true) => Some("IPv4 and IPv6"),
            (true, false) => Some("IPv4"),
            (false, true) => Some("IPv6"),
            (false, false) => None,
        }
    }
}

impl Readiness {
    /// What was found or heard, as far as it keeps to the limits. Where a reason has no room, another one says so, which
    /// concerns all groups: a group whose reason is missing must not seem ready.
    #[must_use]
    pub fn limited(&self) -> Readiness {
        let mut lacks = Vec::new();
        let mut room = MAX_LACK_BYTES;
        for lack in &self.lacks {
            let text = shortened(lack.text.trim());
            let name = lack.group.as_ref().map_or(0, |g| g.as_str().len());
            let fits = room.checked_sub(text.len() + name);
            let Some(left) = fits.filter(|_| lacks.len() + 1 < MAX_LACKS) else {
                lacks.push(Lack {
                    group: None,
                    text: MORE.to_owned(),
                });
                break;
            };
            room = left;
            let group = lack.group.clone();
            lacks.push(Lack { group, text });
        }
        let mut trees = self.trees.clone();
        trees.truncate(MAX_TREES);
        Readiness {
            version: one_line(&self.version, MAX_VERSION_CHARS),
            lacks,
            trees,
            ..*self
        }
    }

    /// The paths of this node whose content another node has otherwise.
    pub fn differing_trees<'a>(&'a self, other: &'a Readiness) -> impl Iterator<Item = &'a str> {
        let theirs = |key: u32| other.trees.iter().find(|t| t.key == key)?.digest;
        let differs = move |ours: &&ComparedTree| {
            let other = theirs(ours.key);
            ours.digest.is_some() && other.is_some() && ours.digest != other
        };
        let differing = self.trees.iter().filter(differs);
        differing.filter_map(|tree| tree.path.as_deref())
    }
}

/// What was shortened before stays as it is.
fn shortened(text: &str) -> String {
    const DOTS: usize = 3;
    let fits = text.chars().nth(MAX_LACK_CHARS + DOTS).is_none();
    let most = if fits {
        MAX_LACK_CHARS + DOTS
    } else {
        MAX_LACK_CHARS
    };
    one_line(text, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trees_that_both_could_read_are_compared() {
        let tree = |(path, digest): &(&str, Option<u32>)| ComparedTree::of(path, *digest);
        let node = |trees: &[(&str, Option<u32>)]| Readiness {
            trees: trees.iter().map(tree).collect(),
            ..Readiness::default()
        };
        let ours = node(&[
            ("/a", Some(1)),
            ("/b", Some(2)),
            ("/c", None),
            ("/d", Some(4)),
            ("/e", Some(5)),
        ]);
        let mut theirs = node(&[
            ("/b", Some(3)),
            ("/a", Some(1)),
            ("/c", Some(3)),
            ("/d", None),
        ]);
        for tree in &mut theirs.trees {
            tree.path = None;
        }
        assert_eq!(ours.differing_trees(&theirs).collect::<Vec<_>>(), ["/b"]);
    }

    #[test]
    fn a_route_that_nobody_has_is_not_lacked() {
        let routes = |v4, v6| DefaultRoutes { v4, v6 };
        let none = routes(false, false);
        assert_eq!(none.lacking(none), None);
        assert_eq!(routes(true, true).lacking(none), None);
        assert_eq!(none.lacking(routes(true, false)), Some("IPv4"));
        assert_eq!(
            routes(true, false).lacking(routes(true, true)),
            Some("IPv6")
        );
    }

    #[test]
    fn what_has_no_room_is_said_of_all_groups() {
        let lack = |group: &str, text: &str| Lack {
            group: Some(GroupName::new(group)),
            text: text.to_owned(),
        };
        let with = |lacks: Vec<Lack>| Readiness {
            lacks,
            ..Readiness::default()
        };
        let few = with(vec![lack("a", "no script"), lack("b", "two\nlines")]);
        let texts = |r: &Readiness| -> Vec<String> {
            r.limited().lacks.into_iter().map(|l| l.text).collect()
        };
        assert_eq!(texts(&few), ["no script", "two lines"]);
        let many = with(
            (0..6)
                .map(|n| lack(&format!("g{n}"), "no script"))
                .collect(),
        );
        let kept = many.limited().lacks;
        assert_eq!(kept.len(), MAX_LACKS);
        assert_eq!((&kept[3].group, kept[3].text.as_str()), (&None, MORE));
        let long = with(vec![
            lack("a", &"ä".repeat(300)),
            lack("b", &"ä".repeat(300)),
        ]);
        let kept = long.limited().lacks;
        assert!(kept[0].text.ends_with("..."));
        assert_eq!((&kept[1].group, kept[1].text.as_str()), (&None, MORE));
        for much in [many, long] {
            assert_eq!(much.limited().limited(), much.limited());
        }
    }
}
