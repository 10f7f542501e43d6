//! Fingerprints: of all orders that an engine has given since its daemon began, and of the members of a group.

use std::hash::{Hash as _, Hasher};

use serde::{Deserialize, Serialize};

use super::Action;
use crate::model::cluster::GroupSpec;

/// Changes with each order. Two engines with equal fingerprints have given the same orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionDigest(pub u64);

impl Default for ActionDigest {
    /// The offset basis of FNV-1a.
    fn default() -> Self {
        ActionDigest(0xcbf2_9ce4_8422_2325)
    }
}

impl ActionDigest {
    /// Takes in what the engine ordered in one round.
    pub fn add(&mut self, actions: &[Action]) {
        let mut sum = Sum(self.0);
        actions.hash(&mut sum);
        self.0 = sum.finish();
    }
}

/// Changes with the members of a group and their order.
pub(super) fn digest_of_members(spec: &GroupSpec) -> u64 {
    let mut sum = Sum(ActionDigest::default().0);
    let members: Vec<&[String]> = spec.steps.iter().map(|s| s.members.as_slice()).collect();
    members.hash(&mut sum);
    sum.finish()
}

/// FNV-1a: fast for a few hundred bytes, and the same in every process, which the standard hasher is not.
struct Sum(u64);

impl Hasher for Sum {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GroupName;

    #[test]
    fn every_order_and_its_place_count() {
        let abort = |name: &str| Action::Abort(GroupName::new(name));
        let of = |rounds: &[&[Action]]| {
            let mut digest = ActionDigest::default();
            for actions in rounds {
                digest.add(actions);
            }
            digest
        };
        let both = of(&[&[abort("a"), abort("b")]]);
        assert_eq!(both, of(&[&[abort("a"), abort("b")]]));
        assert_ne!(both, of(&[&[abort("b"), abort("a")]]));
        assert_ne!(both, of(&[&[abort("a")], &[abort("b")]]));
        assert_ne!(both, ActionDigest::default());
    }
}
