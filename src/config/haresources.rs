//! Reads `haresources`: each line has a node and the resources of one group.
//!
//! In heartbeat the daemon and a script both read this file, and sometimes disagreed. What both read alike is read the same
//! way here. What they read differently is an error that says why.

mod repetitions;

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use crate::model::NodeName;
use crate::model::token::Token;
use crate::text::did_you_mean;
use crate::text::{Place, Problems, Severity};
use crate::text::{SourceLine, SourceWord, is_blank, quote, split_lines};

/// One group of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLine {
    /// The preferred node, which the line begins with.
    pub preferred: NodeName,
    /// The resource words in order. There is at least one; the first names the group.
    pub tokens: Vec<(Token, Place)>,
}

/// Agents whose first argument is an address, which may be IPv6 with `::`.
pub(super) const ADDRESSES: [&str; 3] = ["IPaddr", "IPaddr2", "IPv6addr"];

/// Reads the text of `haresources`. Without `nodes` (because ha.cf has errors) the names of nodes are not checked.
pub fn parse(
    text: &str,
    file: &Path,
    nodes: Option<&[NodeName]>,
    report: &mut Problems,
) -> Vec<GroupLine> {
    let crlf = (Severity::Error, "the CR would be part of the last resource");
    let lines = split_lines(text, file, crlf, report);
    let mut rest = lines.iter();
    let mut groups = Vec::new();
    while let Some(line) = rest.next().filter(|_| !report.is_full()) {
        if line.code().trim_matches(is_blank).is_empty() {
            continue;
        }
        let words = logical_line_words(line, &mut rest, report);
        let above = !groups.is_empty();
        groups.extend(read_group(words, nodes, above, report));
    }
    repetitions::judge(&groups, report);
    repetitions::merge(groups)
}

/// The words of one logical line, continuation lines included.
fn logical_line_words<'a>(
    first: &'a SourceLine,
    rest: &mut impl Iterator<Item = &'a SourceLine>,
    report: &mut Problems,
) -> Vec<SourceWord> {
    let mut words = first_line_words(first, report);
    let mut line = first;
    while let Some(part) = line.code().strip_suffix('\\') {
        let end = line.place(line.text.chars().count(), 1);
        let Some(next) = rest.next() else {
            report.error(&end, "the file ends in a continuation", "remove the `\\`");
            break;
        };
        let cut = !part.is_empty() && !part.ends_with(is_blank) && !part.ends_with('\\');
        let glued = next.code().chars().next().is_some_and(|c| !is_blank(c));
        if cut && glued {
            let message = "the `\\` joins the words on both sides of it into one";
            report.error(&end, message, "put a space before it");
        }
        line = next;
        words.extend(physical_line_words(line, report));
    }
    words
}

/// The words of the first line of a group. Heartbeat's daemon reads no other, so it must be clear to that too.
fn first_line_words(line: &SourceLine, report: &mut Problems) -> Vec<SourceWord> {
    let words = physical_line_words(line, report);
    if let Some(part) = line.code().strip_suffix('\\') {
        let end = line.place(line.text.chars().count(), 1);
        let bare = part.trim_matches(is_blank).is_empty();
        if bare || (words.len() == 1 && !part.ends_with(is_blank)) {
            let message =
                "heartbeat's daemon reads the `\\` as part of the node name, its script does not";
            report.error(&end, message, "begin the line with the node, then a space");
        }
    }
    words
}

/// The words of one physical line, without the `\` that continues it.
fn physical_line_words(line: &SourceLine, report: &mut Problems) -> Vec<SourceWord> {
    let code = line.code();
    let part = code.strip_suffix('\\').unwrap_or(code);
    if line.text.ends_with('\\') && part.len() == code.len() {
        let place = line.place(line.text.chars().count(), 1);
        let message = "`\\` at the end of a comment: heartbeat's daemon continues the line here, its script does not";
        report.error(&place, message, "remove the comment or the `\\`");
    }
    let mut words = line.words_of(part, is_blank);
    for word in &mut words {
        if let Some((message, help)) = why_refused(word) {
            report.error(&word.place, message, help);
            // The empty word keeps its position, but is no resource.
            word.text.clear();
        } else if word.text.contains(['"', '\'']) {
            let message = format!("the quotation marks are part of {}", word.quoted());
            report.warning(&word.place, message, "there is no quoting in haresources");
        }
    }
    words
}

/// Why a word is refused, and what to do.
fn why_refused(word: &SourceWord) -> Option<(String, &'static str)> {
    if word.text.ends_with('\\') {
        let message = "a `\\` that is not the last character of its line does not continue it";
        return Some((
            message.to_owned(),
            "remove what stands after it, spaces too",
        ));
    }
    word.unreadable()
}

fn read_group(
    words: Vec<SourceWord>,
    nodes: Option<&[NodeName]>,
    above: bool,
    report: &mut Problems,
) -> Option<GroupLine> {
    let mut words = words.into_iter();
    let node = words.next()?;
    let preferred = NodeName::new(&node.text);
    let unknown = nodes.filter(|n| !n.contains(&preferred) && !node.text.is_empty());
    if let Some(nodes) = unknown {
        report_unknown_node(&node, nodes, above, report);
    } else if words.len() == 0 && !node.text.is_empty() {
        let message = format!("no resource after {}", node.quoted());
        let help = "a line is a node and the resources of one group";
        report.error(&node.place, message, help);
    }
    let tokens: Vec<_> = words
        .filter(|word| !word.text.is_empty())
        .filter_map(|word| split_resource_word(word, report))
        .collect();
    (!tokens.is_empty()).then_some(GroupLine { preferred, tokens })
}

/// `above` says whether this line may have been meant to continue a group.
fn report_unknown_node(node: &SourceWord, nodes: &[NodeName], above: bool, report: &mut Problems) {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    let mut help = did_you_mean(&node.text, names.iter().copied());
    if help.is_empty() {
        help = format!("a line begins with a node of ha.cf ({})", names.join(", "));
        if above {
            help += "; to continue the line above, end that in ` \\`";
        }
    }
    let message = format!("{} is not a node of ha.cf", node.quoted());
    report.error(&node.place, message, help);
}

/// Splits a resource word into its name and arguments.
fn split_resource_word(word: SourceWord, report: &mut Problems) -> Option<(Token, Place)> {
    let SourceWord { text, place } = word;
    let (name, args) = if is_address(&text) {
        ("IPaddr", vec![text.clone()])
    } else if let Some((name, rest)) = text.split_once("::") {
        if ADDRESSES.contains(&name) && leading_ipv6(rest).is_some() {
            (name, vec![rest.to_owned()])
        } else {
            let args = rest.split("::").filter(|a| !a.is_empty());
            (name, args.map(str::to_owned).collect())
        }
    } else {
        (text.as_str(), Vec::new())
    };
    if name.is_empty() {
        report.error(
            &place,
            format!("no name before the `::` of {}", quote(&text)),
            "a resource is name::argument",
        );
        return None;
    }
    let (name, mut args) = (name.to_owned(), args);
    if ADDRESSES.contains(&name.as_str())
        && let Some(argument) = args.first_mut()
        && let Some(read) = without_empty_netmask(argument)
    {
        let message = format!(
            "{} has an empty netmask; it is read as {read}",
            quote(&text)
        );
        report.warning(&place, message, "write it like that");
        *argument = read;
    }
    Some((Token { text, name, args }, place))
}

/// `10.0.0.1//24/eth0` without the slash too many: heartbeat found the prefix all the same.
fn without_empty_netmask(argument: &str) -> Option<String> {
    let (address, rest) = argument.split_once("//")?;
    let prefix = rest.split('/').next()?;
    prefix.parse::<u8>().ok()?;
    Some(format!("{address}/{rest}"))
}

/// Whether a word is only an address: heartbeat's pattern of four parts with dots between them, each beginning with a
/// digit; or, our addition, an IPv6 address.
fn is_address(word: &str) -> bool {
    let bytes = word.as_bytes();
    let dotted = bytes
        .windows(2)
        .skip(1)
        .filter(|w| matches!(w, [b'.', b'0'..=b'9']))
        .count();
    (bytes.first().is_some_and(u8::is_ascii_digit) && dotted >= 3) || leading_ipv6(word).is_some()
}

fn leading_ipv6(word: &str) -> Option<Ipv6Addr> {
    word.split('/').next()?.parse().ok()
}

/// The address of a resource word whose agent is for addresses.
pub fn resource_address(token: &Token) -> Option<IpAddr> {
    address_argument(token)?.split('/').next()?.parse().ok()
}

/// The argument of a resource word whose agent is for addresses.
pub fn address_argument(token: &Token) -> Option<&str> {
    let for_addresses = ADDRESSES.contains(&token.name.as_str());
    token
        .args
        .first()
        .filter(|_| for_addresses)
        .map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(line: &str) -> Vec<(String, Vec<String>)> {
        let mut report = Problems::default();
        let groups = parse(
            &format!("n1 {line}"),
            Path::new("haresources"),
            None,
            &mut report,
        );
        assert!(!report.has_errors(), "{report}");
        let group = groups.into_iter().next().unwrap();
        group
            .tokens
            .into_iter()
            .map(|(t, _)| (t.name, t.args))
            .collect()
    }

    #[test]
    fn words_come_apart_as_in_heartbeat() {
        for (word, name, args) in [
            ("httpd", "httpd", vec![]),
            ("10.0.0.1", "IPaddr", vec!["10.0.0.1"]),
            ("10.0.0.1/24/eth0:1", "IPaddr", vec!["10.0.0.1/24/eth0:1"]),
            ("10x.0.0.1", "IPaddr", vec!["10x.0.0.1"]),
            ("1.2.3", "1.2.3", vec![]),
            ("a1.2.3.4", "a1.2.3.4", vec![]),
            (
                "IPaddr::10.1.88.199/24/eth0:1",
                "IPaddr",
                vec!["10.1.88.199/24/eth0:1"],
            ),
            (
                "Filesystem::/dev/drbd1::/mnt::ext3",
                "Filesystem",
                vec!["/dev/drbd1", "/mnt", "ext3"],
            ),
            ("name::", "name", vec![]),
            ("name::::x", "name", vec!["x"]),
            ("p::q:r::s", "p", vec!["q:r", "s"]),
            ("LinuxSCSI::0:0:1", "LinuxSCSI", vec!["0:0:1"]),
            ("ocf:heartbeat:nginx", "ocf:heartbeat:nginx", vec![]),
            ("systemd::nginx.service", "systemd", vec!["nginx.service"]),
            ("/opt/a.sh::b", "/opt/a.sh", vec!["b"]),
            ("fe80::1", "IPaddr", vec!["fe80::1"]),
            ("2001:db8::5/64/eth0", "IPaddr", vec!["2001:db8::5/64/eth0"]),
            (
                "2001:db8:0:0:0:0:0:5",
                "IPaddr",
                vec!["2001:db8:0:0:0:0:0:5"],
            ),
            (
                "IPaddr2::2001:db8::5/64/eth0",
                "IPaddr2",
                vec!["2001:db8::5/64/eth0"],
            ),
            ("IPv6addr::fe80::1", "IPv6addr", vec!["fe80::1"]),
            ("other::fe80::1", "other", vec!["fe80", "1"]),
            ("节点::参数", "节点", vec!["参数"]),
        ] {
            let args = args.into_iter().map(str::to_owned).collect();
            assert_eq!(tokens(word), [(name.to_owned(), args)], "{word}");
        }
    }

    #[test]
    fn comments_and_continuations() {
        let seen = tokens("a b # c d\n\n# only a comment \\\n  # another\n");
        assert_eq!(seen.len(), 2);
        let names: Vec<_> = tokens("a \\\n b#x\n").into_iter().map(|t| t.0).collect();
        assert_eq!(names, ["a", "b"]);
        let names: Vec<_> = tokens("a\\\n  b \\\nc").into_iter().map(|t| t.0).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn nodes_are_lower_cased_and_places_are_kept() {
        let mut report = Problems::default();
        let nodes = [NodeName::new("n1")];
        let groups = parse(
            "N1 a\n",
            Path::new("haresources"),
            Some(&nodes),
            &mut report,
        );
        assert!(report.is_empty());
        assert_eq!(groups[0].preferred, nodes[0]);
        let place = &groups[0].tokens[0].1;
        assert_eq!((place.line, place.column, place.width), (1, 4, 1));
    }
}
