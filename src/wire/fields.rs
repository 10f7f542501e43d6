//! The words in our own fields; the table in `heartbeat.rs` describes them.

use std::collections::BTreeMap;

use crate::model::health::FailedCheck;
use crate::model::heartbeat::{
    GoneNode, GroupReport, GroupState, Heard, LeftNode, Recognition, Withheld,
};
use crate::model::identity::{FirstLife, Instance, Namesake};
use crate::model::peer_message::PeerMessage;
use crate::model::{Generation, GroupName, LinkName, NodeName, Sequence, Term};

/// Generations that the heartbeat names elsewhere, so that a group need not repeat them.
pub(super) struct Known<'a> {
    src: &'a NodeName,
    generations: BTreeMap<&'a NodeName, Generation>,
}

impl<'a> Known<'a> {
    /// The generations of the sender and of those it has heard. Writer and reader must get the same result: of a node that is
    /// listed twice the last one counts, and of the sender that in `hg`.
    pub fn new(src: &'a NodeName, generation: Generation, heard: &'a [Heard]) -> Self {
        let mut generations: BTreeMap<_, _> =
            heard.iter().map(|h| (&h.node, h.generation)).collect();
        generations.insert(src, generation);
        Known { src, generations }
    }
}

/// `NODE@GENERATION#SEQUENCE[,LINK]...`
pub(super) fn heard_word(h: &Heard) -> String {
    let node = escape(h.node.as_str());
    let mut word = format!("{node}@{:x}#{:x}", h.generation.0, h.sequence.0);
    for link in &h.links {
        word.push(',');
        word.push_str(&escape(link.as_str()));
    }
    word
}

/// The reverse of [`heard_word`].
pub(super) fn read_heard(word: &str) -> Option<Heard> {
    let mut parts = word.split(',');
    let (node, numbers) = parts.next()?.split_once('@')?;
    let (generation, sequence) = numbers.split_once('#')?;
    let links: Option<Vec<LinkName>> = parts
        .map(|link| Some(LinkName::new(&unescape(link)?)))
        .collect();
    Some(Heard {
        node: NodeName::new(&unescape(node)?),
        generation: Generation(number(generation)?),
        sequence: Sequence(number(sequence)?),
        instance: None,
        loss: 0,
        links: links?,
    })
}

/// `NODE@GENERATION#SEQUENCE,INSTANCE,FIRST,ADDRESS OF THE FIRST,ADDRESS`
pub(super) fn namesake_word(n: &Namesake) -> String {
    let node = escape(n.node.as_str());
    let (generation, sequence, instance) = (n.generation.0, n.sequence.0, n.instance.0);
    let first = match n.first {
        FirstLife::MayLive => '?',
        FirstLife::Lives => '+',
        FirstLife::Gone => '-',
    };
    let address = |a: Option<std::net::IpAddr>| a.map_or_else(String::new, |a| a.to_string());
    let (first_address, address) = (address(n.first_address), address(n.address));
    format!("{node}@{generation:x}#{sequence:x},{instance:x},{first},{first_address},{address}")
}

/// The reverse of [`namesake_word`].
pub(super) fn read_namesake(word: &str) -> Option<Namesake> {
    let mut parts = word.split(',');
    let (node, numbers) = parts.next()?.split_once('@')?;
    let (generation, sequence) = numbers.split_once('#')?;
    let instance = Instance(number(parts.next()?)?);
    let first = match parts.next()? {
        "?" => FirstLife::MayLive,
        "+" => FirstLife::Lives,
        "-" => FirstLife::Gone,
        _ => return None,
    };
    let mut address = || match parts.next()? {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    Some(Namesake {
        node: NodeName::new(&unescape(node)?),
        instance,
        generation: Generation(number(generation)?),
        sequence: Sequence(number(sequence)?),
        first,
        first_address: address()?,
        address: address()?,
    })
}

/// `GROUP,STATE CAN TERM[,>NODE][,TO]`
pub(super) fn group_word(report: &GroupReport, known: &Known<'_>) -> String {
    let mut word = format!(
        "{},{}{}{:x}",
        escape(report.group.as_str()),
        letter(report.state),
        if report.can { '+' } else { '-' },
        report.term.0,
    );
    if let Some(offer) = &report.offer {
        word.push_str(",>");
        word.push_str(&escape(offer.as_str()));
    }
    if let Some(to) = &report.to {
        word.push(',');
        word.push_str(&recognition_word(to, report.term, known));
    }
    word
}

/// The reverse of [`group_word`].
pub(super) fn read_group(word: &str, known: &Known<'_>) -> Option<GroupReport> {
    let mut parts = word.split(',');
    let group = read_group_name(parts.next()?)?;
    let mut state = parts.next()?.chars();
    let (letter, can) = (state.next()?, state.next()?);
    let term = Term(number(state.as_str())?);
    let mut report = GroupReport {
        group,
        state: state_of(letter)?,
        term,
        can: sign(can)?,
        offer: None,
        to: None,
    };
    for part in parts {
        if let Some(node) = part.strip_prefix('>') {
            report.offer = Some(NodeName::new(&unescape(node)?));
        } else {
            report.to = Some(read_recognition(part, term, known)?);
        }
    }
    Some(report)
}

/// `GROUP,NODE[,?]`
pub(super) fn withheld_word(withheld: &Withheld) -> String {
    let (group, node) = (withheld.group.as_str(), withheld.node.as_str());
    let unsure = if withheld.answers { "" } else { ",?" };
    format!("{},{}{unsure}", escape(group), escape(node))
}

/// `NODE,LIST`
pub(super) fn gone_word(gone: &GoneNode) -> String {
    format!("{},{:x}", escape(gone.node.as_str()), gone.list)
}

/// The reverse of [`gone_word`].
pub(super) fn read_gone(word: &str) -> Option<GoneNode> {
    let (node, list) = word.split_once(',')?;
    Some(GoneNode {
        node: NodeName::new(&unescape(node)?),
        list: number(list)?,
    })
}

/// `NODE@GENERATION`
pub(super) fn left_word(left: &LeftNode) -> String {
    format!("{}@{:x}", escape(left.node.as_str()), left.generation.0)
}

/// The reverse of [`left_word`].
pub(super) fn read_left(word: &str) -> Option<LeftNode> {
    let (node, generation) = word.split_once('@')?;
    Some(LeftNode {
        node: NodeName::new(&unescape(node)?),
        generation: Generation(number(generation)?),
    })
}

/// The reverse of [`withheld_word`].
pub(super) fn read_withheld(word: &str) -> Option<Withheld> {
    let mut parts = word.split(',');
    Some(Withheld {
        group: read_group_name(parts.next()?)?,
        node: NodeName::new(&unescape(parts.next()?)?),
        answers: parts.next() != Some("?"),
    })
}

/// `=` or `~`, then `[NODE][@GENERATION][#TERM]`
fn recognition_word(to: &Recognition, term: Term, known: &Known<'_>) -> String {
    let mark = if to.held { '=' } else { '~' };
    let unless = |left_out: bool, text: String| if left_out { String::new() } else { text };
    let node = unless(to.node == *known.src, escape(to.node.as_str()));
    let stated = known.generations.get(&to.node) == Some(&to.generation);
    let generation = unless(stated, format!("@{:x}", to.generation.0));
    let term = unless(to.term == term, format!("#{:x}", to.term.0));
    format!("{mark}{node}{generation}{term}")
}

fn read_recognition(word: &str, term: Term, known: &Known<'_>) -> Option<Recognition> {
    let mut rest = word.chars();
    let held = match rest.next()? {
        '=' => true,
        '~' => false,
        _ => return None,
    };
    let (rest, term) = match rest.as_str().split_once('#') {
        Some((rest, term)) => (rest, Term(number(term)?)),
        None => (rest.as_str(), term),
    };
    let (node, generation) = match rest.split_once('@') {
        Some((node, generation)) => (node, Some(Generation(number(generation)?))),
        None => (rest, None),
    };
    let node = match node {
        "" => known.src.clone(),
        name => NodeName::new(&unescape(name)?),
    };
    let generation = generation.or_else(|| known.generations.get(&node).copied())?;
    Some(Recognition {
        node,
        generation,
        term,
        held,
    })
}

/// `CHECK[@GROUP],-[,TEXT]` or `CHECK[@GROUP],?[,TEXT]`
pub(super) fn failed_check_word(check: &FailedCheck) -> String {
    let mark = if check.pending { '?' } else { '-' };
    let of_group = check.group.as_ref();
    let group = of_group.map_or_else(String::new, |g| format!("@{}", escape(g.as_str())));
    let mut word = format!("{}{group},{mark}", escape(&check.check));
    if !check.text.is_empty() {
        word.push(',');
        word.push_str(&escape(&check.text));
    }
    word
}

/// The reverse of [`failed_check_word`].
pub(super) fn read_failed_check(word: &str) -> Option<FailedCheck> {
    let mut parts = word.splitn(3, ',');
    let name = parts.next()?;
    let (check, group) = match name.split_once('@') {
        Some((check, group)) => (check, Some(read_group_name(group)?)),
        None => (name, None),
    };
    let check = unescape(check)?;
    let pending = match parts.next()? {
        "?" => true,
        "-" => false,
        _ => return None,
    };
    let text = parts.next().map_or(Some(String::new()), unescape)?;
    Some(FailedCheck {
        check,
        group,
        pending,
        text,
    })
}

/// `TO,ID,JSON`
pub(super) fn peer_message_word(message: &PeerMessage) -> Option<String> {
    // It cannot fail for these types.
    let body = serde_json::to_string(&message.body).ok()?;
    let to = escape(message.to.as_str());
    Some(format!("{to},{:x},{}", message.id, escape(&body)))
}

/// The reverse of [`peer_message_word`].
pub(super) fn read_peer_message(word: &str) -> Option<PeerMessage> {
    let mut parts = word.splitn(3, ',');
    let to = NodeName::new(&unescape(parts.next()?)?);
    let id = number(parts.next()?)?;
    let body = unescape(parts.next()?)?;
    let body = serde_json::from_str(&body).ok()?;
    Some(PeerMessage { to, id, body })
}

fn letter(state: GroupState) -> char {
    match state {
        GroupState::Unknown => 'u',
        GroupState::Offline => 'f',
        GroupState::Claiming => 'c',
        GroupState::Starting => 's',
        GroupState::Online => 'o',
        GroupState::Stopping => 'p',
        GroupState::Failed => 'x',
        GroupState::Stuck => 'k',
    }
}

fn state_of(letter: char) -> Option<GroupState> {
    Some(match letter {
        'u' => GroupState::Unknown,
        'f' => GroupState::Offline,
        'c' => GroupState::Claiming,
        's' => GroupState::Starting,
        'o' => GroupState::Online,
        'p' => GroupState::Stopping,
        'x' => GroupState::Failed,
        'k' => GroupState::Stuck,
        _ => return None,
    })
}

fn sign(c: char) -> Option<bool> {
    match c {
        '+' => Some(true),
        '-' => Some(false),
        _ => None,
    }
}

/// The name of a group as a word.
pub(super) fn read_group_name(word: &str) -> Option<GroupName> {
    Some(GroupName::new(&unescape(word)?))
}

/// Joins words with single blanks.
pub(super) fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// A hexadecimal number.
pub(super) fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Escapes characters that would end a word as `%XX`.
pub(super) fn escape(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for c in name.chars() {
        if c <= ' ' || matches!(c, '%' | ',' | '@' | '#' | '\x7f') {
            let code = u32::from(c);
            let digits = [code / 16, code % 16].map(|d| char::from_digit(d, 16).unwrap_or('0'));
            word.push('%');
            word.extend(digits);
        } else {
            word.push(c);
        }
    }
    word
}

/// The reverse of [`escape`]; a name is never empty.
pub(super) fn unescape(word: &str) -> Option<String> {
    let mut parts = word.split('%');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        name.push(char::from(u8::from_str_radix(code, 16).ok()?));
        name.push_str(rest);
    }
    (!name.is_empty()).then_some(name)
}
