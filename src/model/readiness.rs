//! Whether a node could take groups over: what it lacks, and what must be alike on all nodes. Each node looks at itself and
//! publishes what it finds. Nothing is decided by it: it is for people, before a failover needs it.

use serde::{Deserialize, Serialize};

use super::GroupName;

/// A node publishes so many reasons at most.
const MAX_LACKS: usize = 5;
/// A published reason has so many bytes at most.
const MAX_LACK_BYTES: usize = 200;
/// A version has so many bytes at most.
const MAX_VERSION_BYTES: usize = 32;
/// So many trees can be compared.
pub const MAX_TREES: usize = 16;
/// A path that is compared has so many bytes at most: heartbeats carry it.
pub const MAX_PATH_BYTES: usize = 100;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Readiness {
    /// The version of had that runs there; empty before the first look.
    pub version: String,
    /// The families of IP for which it has a default route.
    pub routes: DefaultRoutes,
    /// Those for which it has had one, since its daemon started, while no group ran there. A route that comes with a group is
    /// not missing where the group is not.
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
    /// Its path in ha.cf.
    pub path: String,
    /// A digest of all names and contents; none if it cannot be read. What is wrong is among the lacks then.
    pub digest: Option<u64>,
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
    /// What was heard, as far as it keeps to the limits.
    #[must_use]
    pub fn limited(&self) -> Readiness {
        let mut kept = self.clone();
        truncate(&mut kept.version, MAX_VERSION_BYTES);
        kept.lacks.truncate(MAX_LACKS);
        for lack in &mut kept.lacks {
            truncate(&mut lack.text, MAX_LACK_BYTES);
        }
        kept.trees.retain(|tree| tree.path.len() <= MAX_PATH_BYTES);
        kept.trees.truncate(MAX_TREES);
        kept
    }

    /// The paths whose content another node has otherwise.
    pub fn differing_trees<'a>(&'a self, other: &'a Readiness) -> impl Iterator<Item = &'a str> {
        let theirs = |path: &str| other.trees.iter().find(|t| t.path == path)?.digest;
        let differs = move |ours: &&ComparedTree| {
            let other = theirs(&ours.path);
            ours.digest.is_some() && other.is_some() && ours.digest != other
        };
        self.trees
            .iter()
            .filter(differs)
            .map(|tree| tree.path.as_str())
    }
}

/// Cuts a text between two characters.
fn truncate(text: &mut String, max: usize) {
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=max.min(text.len())).rev().find(fits);
    text.truncate(end.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, digest: Option<u64>) -> ComparedTree {
        ComparedTree {
            path: path.to_owned(),
            digest,
        }
    }

    #[test]
    fn only_trees_that_both_could_read_are_compared() {
        let ours = Readiness {
            trees: vec![
                tree("/a", Some(1)),
                tree("/b", Some(2)),
                tree("/c", None),
                tree("/d", Some(4)),
                tree("/e", Some(5)),
            ],
            ..Readiness::default()
        };
        let theirs = Readiness {
            trees: vec![
                tree("/b", Some(3)),
                tree("/a", Some(1)),
                tree("/c", Some(3)),
                tree("/d", None),
            ],
            ..Readiness::default()
        };
        assert_eq!(ours.differing_trees(&theirs).collect::<Vec<_>>(), ["/b"]);
    }

    #[test]
    fn a_route_that_nobody_has_is_not_lacked() {
        let routes = |v4, v6| DefaultRoutes { v4, v6 };
        let none = routes(false, false);
        assert_eq!(none.lacking(none), None);
        assert_eq!(routes(true, true).lacking(none), None);
        let lacked = none.lacking(routes(true, false));
        assert_eq!(lacked, Some("IPv4"));
        let lacked = routes(true, false).lacking(routes(true, true));
        assert_eq!(lacked, Some("IPv6"));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let lack = Lack {
            group: None,
            text: "ä".repeat(MAX_LACK_BYTES),
        };
        let much = Readiness {
            lacks: vec![lack; MAX_LACKS + 3],
            ..Readiness::default()
        };
        let kept = much.limited();
        assert_eq!(kept.lacks.len(), MAX_LACKS);
        assert_eq!(kept.lacks[0].text.len(), MAX_LACK_BYTES);
    }
}
