//! Rule 16: which node should own a group that nobody owns, and why. There are no scores: each criterion decides alone,
//! in order.

use crate::model::NodeName;
use crate::model::decision::Because;

/// What placement knows of one node for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub name: NodeName,
    /// Why it may not run the group, in words that follow its name. `None` if it may.
    pub ineligible: Option<String>,
    /// It gave the group away on request, so it is the last choice.
    pub yielding: bool,
    /// An administrator told it to take the group over.
    pub wanted: bool,
    pub preferred: bool,
    /// Why `failback_when` keeps it from getting the group back yet.
    pub unready: Option<String>,
    /// How many ping nodes it reaches.
    pub reach: u16,
    /// How many groups it holds or claims.
    pub load: usize,
}

/// The node that should own the group and why, or why no node can. Candidates are in the order of ha.cf.
pub(super) fn choose_node(candidates: &[Candidate]) -> Result<(&NodeName, Because), Because> {
    let free: Vec<&Candidate> = candidates
        .iter()
        .filter(|c| c.ineligible.is_none())
        .collect();
    let willing: Vec<&Candidate> = free
        .iter()
        .copied()
        .filter(|c| !c.yielding || c.wanted)
        .collect();
    let pool = if willing.is_empty() { free } else { willing };
    if let Some(c) = pool.iter().find(|c| c.wanted) {
        return Ok((&c.name, Because::Administrator));
    }
    if let Some(c) = pool.iter().find(|c| c.preferred) {
        return Ok((&c.name, Because::Preferred));
    }
    let best = pool
        .iter()
        .min_by(|a, b| b.reach.cmp(&a.reach).then(a.load.cmp(&b.load)));
    let preferred = candidates.iter().find(|c| c.preferred);
    match best {
        Some(c) => Ok((
            &c.name,
            Because::NextChoice(next_choice(preferred, &pool, c)),
        )),
        None => Err(Because::NoCandidate(all_ineligible(candidates))),
    }
}

/// Why a node was chosen that is not the preferred one.
fn next_choice(preferred: Option<&Candidate>, pool: &[&Candidate], chosen: &Candidate) -> String {
    let first = match preferred {
        Some(p) => match &p.ineligible {
            Some(why) => format!("its preferred node {} {why}", p.name),
            None => format!("its preferred node {} gave it away", p.name),
        },
        None => "it has no preferred node".to_owned(),
    };
    let others: Vec<&&Candidate> = pool.iter().filter(|c| c.name != chosen.name).collect();
    let second = if others.is_empty() {
        "is the only other candidate"
    } else if others.iter().all(|c| c.reach < chosen.reach) {
        "reaches the most ping nodes"
    } else if others.iter().all(|c| c.load > chosen.load) {
        "has the fewest groups"
    } else {
        "is the best choice by ping nodes, number of groups and order in ha.cf"
    };
    format!("{first}, and {} {second}", chosen.name)
}

/// Why none of the other nodes can run the group.
pub(super) fn why_no_other(others: &[Candidate]) -> String {
    format!("no other node can run it: {}", all_ineligible(others))
}

fn all_ineligible(candidates: &[Candidate]) -> String {
    if candidates.is_empty() {
        return "there is no other node".to_owned();
    }
    let each = |c: &Candidate| Some(format!("{} {}", c.name, c.ineligible.as_deref()?));
    let all: Vec<String> = candidates.iter().filter_map(each).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> Candidate {
        let mut words = text.split(' ');
        let name = NodeName::new(words.next().unwrap());
        let mut c = Candidate {
            name,
            ineligible: None,
            yielding: false,
            wanted: false,
            preferred: false,
            unready: None,
            reach: 0,
            load: 0,
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("ineligible", why) => c.ineligible = Some(why.to_owned()),
                ("yielding", _) => c.yielding = true,
                ("wanted", _) => c.wanted = true,
                ("preferred", _) => c.preferred = true,
                ("reach", n) => c.reach = n.parse().unwrap(),
                ("load", n) => c.load = n.parse().unwrap(),
                other => panic!("{other:?}"),
            }
        }
        c
    }

    #[test]
    fn each_criterion_decides_alone_and_in_order() {
        let table = [
            ("a preferred; b", "a", "this is its preferred node"),
            ("a; b preferred", "b", "this is its preferred node"),
            (
                "a preferred ineligible=is-dead; b",
                "b",
                "its preferred node a is-dead, and b is the only other candidate",
            ),
            ("a preferred; b wanted", "b", "an administrator"),
            ("a preferred yielding; b", "b", "a gave it away"),
            (
                "a preferred yielding; b ineligible=is-dead",
                "a",
                "preferred node",
            ),
            ("a preferred yielding wanted; b", "a", "an administrator"),
            (
                "a reach=1; b reach=2; c preferred ineligible=x",
                "b",
                "reaches the most",
            ),
            (
                "a load=2; b load=1; c preferred ineligible=x",
                "b",
                "fewest groups",
            ),
            (
                "a reach=2 load=9; b reach=1; c preferred ineligible=x",
                "a",
                "reaches the most",
            ),
            ("a; b; c preferred ineligible=x", "a", "order in ha.cf"),
        ];
        for (situation, winner, why) in table {
            let all: Vec<Candidate> = situation.split("; ").map(candidate).collect();
            let (name, because) = choose_node(&all).unwrap();
            assert_eq!(name.as_str(), winner, "{situation}");
            assert!(because.to_string().contains(why), "{situation}: {because}");
        }
    }

    #[test]
    fn without_a_candidate_everybody_is_named() {
        let all = ["a preferred ineligible=is-dead", "b ineligible=failed-it"].map(candidate);
        let because = choose_node(&all).unwrap_err();
        assert_eq!(
            because.to_string(),
            "no node can run it: a is-dead, b failed-it"
        );
        assert_eq!(
            why_no_other(&[]),
            "no other node can run it: there is no other node"
        );
    }
}
