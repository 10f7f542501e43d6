//! The groups that an administrator names on the command line.
//!
//! A word is `all`, `local` (groups that prefer this node), `foreign` (the others), `failback` (groups that are
//! not on their preferred node), a group's whole name, or the first argument of its name: `10.1.88.199` for
//! `IPaddr::10.1.88.199/24/eth0:1`. A word that matches no group or several groups is an error.

use std::fmt::Write as _;

use crate::model::{GroupName, NodeName};
use crate::text::{mask_secrets, nearest};

/// Which way groups are to move: it decides what `failback` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Away from this node: `failback` are the groups that prefer another node.
    Away,
    /// To this node: `failback` are the groups that prefer this one.
    Here,
}

/// The groups that the words mean, each once, in the order of `groups`: all groups of haresources with their
/// preferred nodes. An error is a sentence that quotes the word and names what would have matched.
/// A word such as `foreign` may mean no group at all; but no word at all is an error.
pub fn select_groups(
    words: &[String],
    groups: &[(GroupName, NodeName)],
    me: &NodeName,
    direction: Direction,
) -> Result<Vec<GroupName>, String> {
    if words.is_empty() {
        return Err("no group given: name a group, or use all".to_owned());
    }
    let mut chosen = vec![false; groups.len()];
    for word in words {
        for (chosen, fits) in chosen
            .iter_mut()
            .zip(groups_of_word(word, groups, me, direction)?)
        {
            *chosen |= fits;
        }
    }
    let picked = groups.iter().zip(chosen).filter(|(_, chosen)| *chosen);
    Ok(picked.map(|((name, _), _)| name.clone()).collect())
}

/// The one group that a word means.
pub fn select_group(word: &str, groups: &[(GroupName, NodeName)]) -> Result<GroupName, String> {
    let fits: Vec<&GroupName> = groups
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.as_str() == word || mask_secrets(name.as_str()) == word)
        .collect();
    let fits = if fits.is_empty() {
        let by_argument = |name: &&GroupName| abbreviations(name.as_str()).contains(&word);
        groups
            .iter()
            .map(|(name, _)| name)
            .filter(by_argument)
            .collect()
    } else {
        fits
    };
    match fits.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(unknown_word(word, groups)),
        several => Err(format!(
            "`{word}` matches several groups; use one of: {}",
            join_first_names(several.iter().map(|g| g.as_str()))
        )),
    }
}

/// For each group, whether the word means it.
fn groups_of_word(
    word: &str,
    groups: &[(GroupName, NodeName)],
    me: &NodeName,
    direction: Direction,
) -> Result<Vec<bool>, String> {
    let prefers = |mine: bool| groups.iter().map(|(_, p)| (p == me) == mine).collect();
    match word {
        "all" => Ok(vec![true; groups.len()]),
        "local" => Ok(prefers(true)),
        "foreign" => Ok(prefers(false)),
        "failback" => Ok(prefers(direction == Direction::Here)),
        name => {
            let one = select_group(name, groups)?;
            Ok(groups.iter().map(|(group, _)| *group == one).collect())
        }
    }
}

/// The short forms of a group's name: its first argument, and that up to its first `/`. In
/// `OCF::type::arg` the type is part of the agent's name.
fn abbreviations(name: &str) -> Vec<&str> {
    let mut parts = name.split("::").filter(|part| !part.is_empty());
    let agent = parts.next().unwrap_or_default();
    let argument = if agent.eq_ignore_ascii_case("OCF") {
        parts.nth(1)
    } else {
        parts.next()
    };
    // An address alone is its own argument.
    let argument = argument.unwrap_or(agent);
    let head = argument.split('/').next().unwrap_or_default();
    [argument, head]
        .into_iter()
        .filter(|short| !short.is_empty())
        .collect()
}

fn unknown_word(word: &str, groups: &[(GroupName, NodeName)]) -> String {
    let mut text = format!("no group matches `{word}`");
    let known = groups.iter().flat_map(|(name, _)| {
        let name = name.as_str();
        std::iter::once(name).chain(abbreviations(name))
    });
    let known = known.chain(["all", "local", "foreign", "failback"]);
    if let Some(name) = nearest(word, known) {
        let _infallible = write!(text, "; did you mean `{name}`?");
    } else if groups.is_empty() {
        text.push_str("; haresources has no groups");
    } else {
        let names = join_first_names(groups.iter().map(|(name, _)| name.as_str()));
        let _infallible = write!(text, "; the groups are: {names}");
    }
    text
}

/// At most ten names; they are enough to see what names look like here.
fn join_first_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    let all = names.len();
    names.truncate(10);
    let mut text = names.join(", ");
    if all > names.len() {
        let _infallible = write!(text, " and {} more", all - names.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Vec<(GroupName, NodeName)> {
        [
            ("IPaddr::10.1.88.199/24/eth0:1", "alice"),
            ("10.1.88.200/24", "bob"),
            ("mysqld::shop", "alice"),
            ("OCF::Dummy::shop", "bob"),
            ("ocf:heartbeat:Dummy::red", "bob"),
        ]
        .map(|(group, node)| (GroupName::new(group), NodeName::new(node)))
        .to_vec()
    }

    fn pick(words: &[&str], direction: Direction) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let names = select_groups(&words, &groups(), &NodeName::new("alice"), direction)?;
        Ok(names.iter().map(|n| n.as_str().to_owned()).collect())
    }

    #[test]
    fn keywords_divide_by_the_preferred_node() {
        assert_eq!(pick(&["all"], Direction::Away).unwrap().len(), 5);
        let local = vec!["IPaddr::10.1.88.199/24/eth0:1", "mysqld::shop"];
        assert_eq!(pick(&["local"], Direction::Away).unwrap(), local);
        assert_eq!(pick(&["failback"], Direction::Here).unwrap(), local);
        let foreign = pick(&["foreign"], Direction::Away).unwrap();
        assert_eq!(foreign.len(), 3);
        assert_eq!(pick(&["failback"], Direction::Away).unwrap(), foreign);
    }

    #[test]
    fn short_forms_find_their_group_and_order_is_that_of_haresources() {
        let found = pick(
            &["red", "10.1.88.199", "mysqld::shop", "red"],
            Direction::Away,
        );
        assert_eq!(
            found.unwrap(),
            [
                "IPaddr::10.1.88.199/24/eth0:1",
                "mysqld::shop",
                "ocf:heartbeat:Dummy::red"
            ]
        );
        assert_eq!(
            pick(&["10.1.88.200"], Direction::Away).unwrap(),
            ["10.1.88.200/24"]
        );
    }

    #[test]
    fn a_group_is_found_by_the_name_that_is_shown() {
        let name = GroupName::new("ocf:heartbeat:x::passwd=hidden");
        let groups = [(name.clone(), NodeName::new("alice"))];
        let found = select_group("ocf:heartbeat:x::passwd=***", &groups);
        assert_eq!(found.unwrap(), name);
    }

    #[test]
    fn what_fits_two_groups_is_an_error_that_lists_them() {
        let error = pick(&["shop"], Direction::Away).unwrap_err();
        assert_eq!(
            error,
            "`shop` matches several groups; use one of: mysqld::shop, OCF::Dummy::shop"
        );
    }

    #[test]
    fn a_slip_earns_a_suggestion_and_nonsense_the_list() {
        let slip = pick(&["10.1.88.198"], Direction::Away).unwrap_err();
        assert!(slip.contains("did you mean `10.1.88.199`?"), "{slip}");
        let slip = pick(&["foriegn"], Direction::Away).unwrap_err();
        assert!(slip.contains("did you mean `foreign`?"), "{slip}");
        let other = pick(&["zzz"], Direction::Away).unwrap_err();
        assert!(other.contains("the groups are: IPaddr::"), "{other}");
        assert!(
            pick(&[], Direction::Away)
                .unwrap_err()
                .contains("no group given")
        );
        assert!(pick(&[""], Direction::Away).is_err());
    }
}
