//! A resource that is named twice. Two groups would start and stop it independently of each other, so it must belong to one.
//! Heartbeat moved all groups of a node together, and files were written that name a script or an address in two lines of the
//! same node: these lines are one group.

use std::collections::BTreeMap;

use super::{GroupLine, resource_address};
use crate::model::token::Token;
use crate::text::{Place, Problems, quote};

/// Agents whose word may be in several groups, because they have no state to share.
const STATELESS: [&str; 4] = ["MailTo", "Delay", "AudibleAlarm", "WinPopup"];

/// What a word stands for: its name and arguments, or its address.
type Identity = (String, Vec<String>);

/// A word that was seen: its place, the number of its line among the groups, and whether it is the first of its line.
struct Seen<'g> {
    place: &'g Place,
    group: usize,
    is_key: bool,
}

/// Refuses a word that occurs twice, and warns of one that joins two lines of the same node.
pub(super) fn judge(groups: &[GroupLine], report: &mut Problems) {
    let mut seen: BTreeMap<Identity, Seen<'_>> = BTreeMap::new();
    for (nth, group) in groups.iter().enumerate() {
        for (position, (token, place)) in group.tokens.iter().enumerate() {
            let first = seen.entry(identity(token)).or_insert(Seen {
                place,
                group: nth,
                is_key: position == 0,
            });
            if first.place == place || (is_stateless(token, position) && !first.is_key) {
                continue;
            }
            let same_node = groups.get(first.group).map(|g| &g.preferred) == Some(&group.preferred);
            let what = match resource_address(token) {
                Some(address) => format!("address {address}"),
                None => quote(&token.text),
            };
            let line = first.place.line;
            if nth == first.group {
                let message = format!("{what} is already on line {line}");
                report.error(
                    place,
                    message,
                    "a resource can be a member of its group only once",
                );
            } else if same_node {
                let message = format!(
                    "{what} is already on line {line}: both lines are read as one group, which moves as a whole"
                );
                report.warning(place, message, "write them as one line");
            } else {
                let message = format!("{what} is already on line {line}");
                let help = "a resource belongs to one group: two groups would start and stop it independently of each other";
                report.error(place, message, help);
            }
        }
    }
}

/// Joins lines of the same node that share a resource. What is new of a later line comes after the earlier ones.
pub(super) fn merge(groups: Vec<GroupLine>) -> Vec<GroupLine> {
    let mut merged: Vec<GroupLine> = Vec::new();
    for mut group in groups {
        // A later line may join several earlier ones.
        let sharing =
            |other: &GroupLine| other.preferred == group.preferred && share(other, &group);
        let (together, apart): (Vec<_>, Vec<_>) = merged
            .into_iter()
            .enumerate()
            .partition(|(_, other)| sharing(other));
        let place = together.first().map_or(apart.len(), |(at, _)| *at);
        let lines = together.into_iter().map(|(_, line)| line.tokens);
        let tokens = lines.flatten().chain(std::mem::take(&mut group.tokens));
        for (token, place) in tokens {
            let known = |(t, _): &(Token, Place)| identity(t) == identity(&token);
            if !group.tokens.iter().any(known) {
                group.tokens.push((token, place));
            }
        }
        merged = apart.into_iter().map(|(_, other)| other).collect();
        merged.insert(place, group);
    }
    merged
}

/// Whether two lines share a resource that cannot be in both.
fn share(one: &GroupLine, other: &GroupLine) -> bool {
    one.tokens.iter().enumerate().any(|(at, (token, _))| {
        other.tokens.iter().enumerate().any(|(there, (twin, _))| {
            let firm = !is_stateless(token, at) || !is_stateless(twin, there);
            firm && identity(token) == identity(twin)
        })
    })
}

/// The first word names its group, so it is never shared.
fn is_stateless(token: &Token, position: usize) -> bool {
    position > 0 && STATELESS.contains(&token.name.as_str())
}

fn identity(token: &Token) -> Identity {
    match resource_address(token) {
        Some(address) => ("an address".to_owned(), vec![address.to_string()]),
        None => (token.name.clone(), token.args.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    fn read(text: &str) -> (Vec<String>, usize, bool) {
        let mut report = Problems::default();
        let groups = parse(text, Path::new("haresources"), None, &mut report);
        let words = |group: &GroupLine| {
            let words: Vec<&str> = group.tokens.iter().map(|(t, _)| t.text.as_str()).collect();
            format!("{} {}", group.preferred, words.join(" "))
        };
        let lines = groups.iter().map(words).collect();
        (lines, report.list.len(), report.has_errors())
    }

    #[test]
    fn lines_of_one_node_that_share_a_resource_are_one_group() {
        for (text, lines, warnings) in [
            (
                "a 10.0.0.1 httpd\na 10.0.0.2 httpd\n",
                vec!["a 10.0.0.1 httpd 10.0.0.2"],
                1,
            ),
            (
                "a 10.0.0.1 x\nb y\na 10.0.0.1/24 z\n",
                vec!["a 10.0.0.1 x z", "b y"],
                1,
            ),
            ("a x\na x\n", vec!["a x"], 1),
            ("a 1 2\na 3 4\nb 5\na 2 3\n", vec!["a 1 2 3 4", "b 5"], 2),
            (
                "a x MailTo::m\na y MailTo::m\n",
                vec!["a x MailTo::m", "a y MailTo::m"],
                0,
            ),
            ("a MailTo::m\na y MailTo::m\n", vec!["a MailTo::m y"], 1),
        ] {
            let (read, problems, errors) = read(text);
            assert_eq!(
                (read, problems, errors),
                (
                    lines.iter().map(ToString::to_string).collect(),
                    warnings,
                    false
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_of_two_nodes_and_one_line_cannot_share() {
        for text in [
            "a x\nb x\n",
            "a x x\n",
            "a 10.0.0.1\nb IPaddr2::10.0.0.1/24\n",
        ] {
            assert!(read(text).2, "{text}");
        }
    }
}
