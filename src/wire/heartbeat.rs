//! The heartbeat as a message: first the fields of heartbeat's `t=status`, so that a 3.0.6 node can hear us, then ours.
//!
//! | field | content | example |
//! |---|---|---|
//! | `t st dt protocol src srcuuid seq hg ts ld ttl` | as 3.0.6 sends them; `st` is `up` until the sender takes part, then `active`; `dt` in hexadecimal ms | |
//! | `had` | version of this table; a status without it is a 3.0.6 node's | `1` |
//! | `pv` | the versions of this table that the sender speaks, in decimal: a range | `1-1` |
//! | `cn` | name of the cluster | `shop` |
//! | `cd` | hash of the settings that must be the same on every node | `9f86d081884c7d65` |
//! | `vo` | digests of the lists of voters: the configured one, then those before it by which quorum is counted too | `1f2e 7b03` |
//! | `fo` | nodes that are gone for good (`hactl forget`), `NODE,LIST` with the digest of the list by which they no longer act | `carol,7b03` |
//! | `gb` | nodes that have said goodbye to the sender, `NODE@GENERATION` of the life that did | `carol@2f` |
//! | `me` | phase (`init active leaving left`); `+` quorate, `-` not; ping nodes that answer / are configured | `active + 1/2` |
//! | `h` | heard, one word per peer: `NODE@GENERATION#SEQUENCE`, then `,LINK` for each link on which it is heard | `bob@2f#1a0c,eth0,eth1` |
//! | `in` | this life of the sender, drawn at random; after `,` the life before it in the same boot | `9c01f2,77ab` |
//! | `hi` | for each word of `h`, which life of that peer, or `-`; left out when none is known | `9c01f2 -` |
//! | `nk` | second lives heard under the name of a node: `NODE@GENERATION#SEQUENCE,INSTANCE,FIRST,ADDRESS,ADDRESS`; FIRST: `?` the first life may live, `+` it does, `-` it is gone; then where the first and the second send from | `alice@5#1a,9c01f2,+,10.0.0.1,10.0.0.7` |
//! | `lo` | lost: for each word of `h`, how many of a thousand recent heartbeats of that peer were missed; left out when none were | `0 c8` |
//! | `sb` `yi` `wa` `wf` `ma` | standby, yielding, wanted, wanted by force, maintenance: groups; but for `ma`, only those that this datagram reports | `web db` |
//! | `ai` | failed checks: one word per check that has not passed, `CHECK,-` failed or `CHECK,?` without a result, then `,TEXT`; none is left out; `CHECK@GROUP` affects only that group | `web,-,no%20answer` |
//! | `le` | messages to other daemons: questions and answers, `TO,ID,JSON`; they do not affect ownership | `bob,1f,%7b...` |
//! | `wh` | groups that a silent node may still run because its machine answers, `GROUP,NODE`; `,?` after it while that is not known | `db,alice,?` |
//! | `hw` | hardware addresses from which the sender may answer for the addresses of groups | `525400aabbcc` |
//! | `bk` | back within this time in ms | `7530` |
//! | `ry` | the version of had, and the families of IP for which the sender has a default route, now and at any time while no group ran there: `46 4 6 -` | `0.1.0,-,46` |
//! | `la` | what the sender lacks to take groups over: `GROUP,TEXT`, without a group for all; for people only | `,disk%20full` |
//! | `ct` | trees named by `compare` in ha.cf: `PATH,DIGEST` in numbers, or `-` for one that cannot be read | `811c9dc5,9f86d0` |
//! | `g` | one word per group, below | `web,o+5,= db,f+2,=bob#3` |
//!
//! ```text
//! GROUP,STATE CAN TERM [,>NODE] [,TO]      (written without the blanks)
//!       |     |   |      |        `- = holds or ~ claims, then [NODE][@GENERATION][#TERM]: who is recognised.
//!       |     |   |      |           Left out means: the sender; the generation that `hg` or `h` give
//!       |     |   |      |           for that node; the term before.
//!       |     |   |      `- offered to
//!       |     |   `- term
//!       |     `- + may run here, - may not
//!       `- u unknown  f offline  c claiming  s starting  o online  p stopping  x failed  k stuck
//! ```
//! Numbers are hexadecimal unless noted. Lists are separated by single blanks, and a field with an empty list is left out. In
//! a name, blanks, control characters and each of `%,@#` are written `%XX`. A reader ignores unknown fields; the version is
//! raised when ignoring them would be wrong.

use std::time::Duration;

use super::fields::{self, Known};
use super::message::Message;
use super::{Refused, auth, message, readiness};
use crate::model::hardware_address::HardwareAddress;
use crate::model::heartbeat::{
    Heard, Heartbeat, Intent, PROTOCOL_VERSIONS, Phase, Reach, UnreadableHeartbeat, VotersReport,
};
use crate::model::identity::{Identity, Instance};
use crate::model::keys::Keys;
use crate::model::peer_message::{self, PeerMessage};
use crate::model::{Generation, NodeName, Sequence};

/// The value of the field `had` that we write and accept.
const VERSION: &str = "1";

/// The longest `ld`; /proc/loadavg has fewer than 40 characters.
const LOADAVG_MAX: usize = 40;

/// The fields of a heartbeat that only 3.0.6 nodes and logs use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's UUID: not all zeros, and different on every node.
    pub uuid: [u8; 16],
    /// The sender's wall clock, in seconds since 1970; not zero.
    pub wall_seconds: u64,
    /// The first line of /proc/loadavg.
    pub loadavg: String,
    /// The number of nodes and ping nodes, plus `hopfudge`. had ignores it.
    pub ttl: u32,
    /// The cluster's name.
    pub cluster: String,
}

/// The signed datagram of a heartbeat.
pub fn encode(hb: &Heartbeat, env: &Envelope, keys: &Keys) -> Vec<u8> {
    let signed = write(hb, env).to_netstrings();
    let (index, digest) = auth::sign(keys, &signed);
    message::close(signed, index, &digest)
}

/// The message of a heartbeat.
pub(super) fn write<'a>(hb: &'a Heartbeat, env: &'a Envelope) -> Message<'a> {
    let mut m = Message::default();
    write_classic(&mut m, hb, env);
    m.string("had", VERSION);
    let (least, most) = (PROTOCOL_VERSIONS.start(), PROTOCOL_VERSIONS.end());
    m.string("pv", format!("{least}-{most}"));
    m.string("cn", &env.cluster);
    m.string("cd", hex(hb.digest));
    m.string("me", me(hb));
    let mut list = |name, words: String| {
        if !words.is_empty() {
            m.string(name, words);
        }
    };
    list("h", fields::join(hb.heard.iter().map(fields::heard_word)));
    list("in", identity_word(hb.identity));
    if hb.heard.iter().any(|h| h.instance.is_some()) {
        let word = |h: &Heard| h.instance.map_or_else(|| "-".to_owned(), |i| hex(i.0));
        list("hi", fields::join(hb.heard.iter().map(word)));
    }
    list(
        "nk",
        fields::join(hb.namesakes.iter().map(fields::namesake_word)),
    );
    if hb.heard.iter().any(|h| h.loss > 0) {
        list(
            "lo",
            fields::join(hb.heard.iter().map(|h| hex(h.loss.into()))),
        );
    }
    let Intent {
        standby,
        yielding,
        wanted,
        forced,
        maintenance,
        back_within,
    } = &hb.intent;
    let named = [
        ("sb", standby),
        ("yi", yielding),
        ("wa", wanted),
        ("wf", forced),
        ("ma", maintenance),
    ];
    for (name, groups) in named {
        list(
            name,
            fields::join(groups.iter().map(|g| fields::escape(g.as_str()))),
        );
    }
    list(
        "ai",
        fields::join(hb.failed_checks.iter().map(fields::failed_check_word)),
    );
    list(
        "le",
        fields::join(
            hb.peer_messages
                .iter()
                .filter_map(fields::peer_message_word),
        ),
    );
    list(
        "wh",
        fields::join(hb.withheld.iter().map(fields::withheld_word)),
    );
    list("hw", fields::join(hb.hardware.iter().map(|a| a.digits())));
    list("bk", back_within.map(milliseconds).unwrap_or_default());
    let voters = &hb.voters;
    if voters.current != 0 {
        let lists = std::iter::once(&voters.current).chain(&voters.former);
        list("vo", fields::join(lists.map(|digest| hex(*digest))));
    }
    list(
        "fo",
        fields::join(voters.gone.iter().map(fields::gone_word)),
    );
    list("gb", fields::join(hb.left.iter().map(fields::left_word)));
    list("ry", readiness::version_word(&hb.readiness));
    list(
        "la",
        fields::join(hb.readiness.lacks.iter().map(readiness::lack_word)),
    );
    list(
        "ct",
        fields::join(hb.readiness.trees.iter().map(readiness::tree_word)),
    );
    let known = Known::new(&hb.src, hb.generation, &hb.heard);
    list(
        "g",
        fields::join(hb.groups.iter().map(|g| fields::group_word(g, &known))),
    );
    m
}

fn write_classic<'a>(m: &mut Message<'a>, hb: &'a Heartbeat, env: &'a Envelope) {
    m.string("t", "status");
    m.string("st", classic_phase(hb.phase));
    m.string("dt", milliseconds(hb.deadtime));
    m.string("protocol", "1");
    m.string("src", hb.src.as_str());
    m.binary("srcuuid", &env.uuid);
    m.string("seq", hex(hb.sequence.0));
    m.string("hg", hex(hb.generation.0));
    m.string("ts", hex(env.wall_seconds));
    m.string("ld", loadavg(&env.loadavg));
    m.string("ttl", env.ttl.to_string());
}

/// The word for `st`; 3.0.6 knows only these two.
fn classic_phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Init => "up",
        Phase::Active | Phase::Leaving | Phase::Left => "active",
    }
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Init => "init",
        Phase::Active => "active",
        Phase::Leaving => "leaving",
        Phase::Left => "left",
    }
}

fn loadavg(text: &str) -> String {
    let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let line: String = text.chars().filter(printable).take(LOADAVG_MAX).collect();
    if line.is_empty() { "n/a".into() } else { line }
}

fn me(hb: &Heartbeat) -> String {
    let Reach {
        answering,
        configured,
    } = hb.reach;
    let quorate = if hb.quorate { '+' } else { '-' };
    format!(
        "{} {quorate} {answering}/{configured}",
        phase_word(hb.phase)
    )
}

/// Reads an authenticated message.
pub(super) fn read(m: &Message<'_>, cluster: &str) -> Result<Heartbeat, Refused> {
    if m.get("t") != Some(b"status") {
        return Err(Refused::ForeignHeartbeat);
    }
    match m.text("had")? {
        None => return Err(Refused::ForeignHeartbeat),
        Some(VERSION) => {}
        Some(_) => return Err(Refused::OtherVersion),
    }
    if m.get("cn") != Some(cluster.as_bytes()) {
        return Err(Refused::OtherCluster);
    }
    let src = NodeName::new(needed(m, "src")?);
    let generation = Generation(number(needed(m, "hg")?)?);
    let mut heard = read_list(m, "h", fields::read_heard)?;
    let losses = read_list(m, "lo", |word| u16::try_from(fields::number(word)?).ok())?;
    for (heard, loss) in heard.iter_mut().zip(losses) {
        heard.loss = loss;
    }
    let instances = read_list(m, "hi", read_instance)?;
    for (heard, instance) in heard.iter_mut().zip(instances) {
        heard.instance = instance;
    }
    let known = Known::new(&src, generation, &heard);
    let groups = read_list(m, "g", |word| fields::read_group(word, &known))?;
    let (phase, quorate, reach) =
        read_me(needed(m, "me")?).ok_or(Refused::Malformed("cannot read the field `me`"))?;
    Ok(Heartbeat {
        sequence: Sequence(number(needed(m, "seq")?)?),
        phase,
        deadtime: Duration::from_millis(number(needed(m, "dt")?)?),
        groups,
        reach,
        quorate,
        intent: read_intent(m)?,
        withheld: read_list(m, "wh", fields::read_withheld)?,
        hardware: read_list(m, "hw", HardwareAddress::from_digits)?,
        failed_checks: read_list(m, "ai", fields::read_failed_check)?,
        peer_messages: read_peer_messages(m)?,
        readiness: readiness::read(m),
        digest: number(needed(m, "cd")?)?,
        identity: read_identity(m)?,
        namesakes: read_list(m, "nk", fields::read_namesake)?,
        voters: read_voters(m)?,
        left: read_list(m, "gb", fields::read_left)?,
        src,
        generation,
        heard,
    })
}

/// `INSTANCE[,LIFE BEFORE]`
fn identity_word(identity: Identity) -> String {
    match (identity.instance, identity.succeeds) {
        (Some(instance), Some(before)) => format!("{:x},{:x}", instance.0, before.0),
        (Some(instance), None) => hex(instance.0),
        (None, _) => String::new(),
    }
}

fn read_identity(m: &Message<'_>) -> Result<Identity, Refused> {
    let Some(text) = m.text("in")? else {
        return Ok(Identity::default());
    };
    let (instance, before) = match text.split_once(',') {
        Some((instance, before)) => (instance, Some(before)),
        None => (text, None),
    };
    let read = |text| number(text).map(Instance);
    Ok(Identity {
        instance: Some(read(instance)?),
        succeeds: before.map(read).transpose()?,
    })
}

/// A life, or `-` where it is not known.
#[allow(clippy::option_option)] // none means that it cannot be read
fn read_instance(word: &str) -> Option<Option<Instance>> {
    match word {
        "-" => Some(None),
        word => fields::number(word).map(|number| Some(Instance(number))),
    }
}

/// Reads of an authenticated message that [`read`] has refused who is alive there, if it is of our cluster. Without numbers
/// the moment stands for them, so that a copy cannot be told from a new one, but no flood comes of it.
pub(super) fn read_unreadable(
    m: &Message<'_>,
    cluster: &str,
    milliseconds: u64,
) -> Option<UnreadableHeartbeat> {
    if m.get("cn") != Some(cluster.as_bytes()) {
        return None;
    }
    let text = |name| m.text(name).ok().flatten();
    let version = text("had")?;
    let src = NodeName::new(text("src").filter(|name| !name.is_empty())?);
    let numbers = text("hg").zip(text("seq"));
    let numbers = numbers.and_then(|(g, s)| Some((fields::number(g)?, fields::number(s)?)));
    let (generation, sequence) = numbers.unwrap_or((u64::MAX, milliseconds));
    let range = text("pv").and_then(|range| range.split_once('-'));
    let (least, most) = range.unwrap_or((version, version));
    let versions = least.parse().ok().zip(most.parse().ok());
    Some(UnreadableHeartbeat {
        src,
        generation: Generation(generation),
        sequence: Sequence(sequence),
        versions,
    })
}

fn read_me(text: &str) -> Option<(Phase, bool, Reach)> {
    let (phase, rest) = text.split_once(' ')?;
    let (quorate, reach) = rest.split_once(' ')?;
    let (answering, configured) = reach.split_once('/')?;
    let all = [Phase::Init, Phase::Active, Phase::Leaving, Phase::Left];
    let phase = all.into_iter().find(|p| phase_word(*p) == phase)?;
    let quorate = match quorate {
        "+" => true,
        "-" => false,
        _ => return None,
    };
    let reach = Reach {
        answering: answering.parse().ok()?,
        configured: configured.parse().ok()?,
    };
    Some((phase, quorate, reach))
}

fn read_intent(m: &Message<'_>) -> Result<Intent, Refused> {
    let back_within = m.text("bk")?.map(number).transpose()?;
    Ok(Intent {
        standby: read_list(m, "sb", fields::read_group_name)?,
        yielding: read_list(m, "yi", fields::read_group_name)?,
        wanted: read_list(m, "wa", fields::read_group_name)?,
        forced: read_list(m, "wf", fields::read_group_name)?,
        maintenance: read_list(m, "ma", fields::read_group_name)?,
        back_within: back_within.map(Duration::from_millis),
    })
}

fn read_voters(m: &Message<'_>) -> Result<VotersReport, Refused> {
    let mut lists = read_list(m, "vo", fields::number)?.into_iter();
    let current = lists.next();
    if current == Some(0) {
        return Err(Refused::Malformed("a list of voters without a digest"));
    }
    Ok(VotersReport {
        current: current.unwrap_or_default(),
        former: lists.collect(),
        gone: read_list(m, "fo", fields::read_gone)?,
    })
}

/// At most as many as a node may send. Unknown ones are left out, because a newer daemon may ask questions that we do not know.
fn read_peer_messages(m: &Message<'_>) -> Result<Vec<PeerMessage>, Refused> {
    let words = m.text("le")?.unwrap_or_default().split(' ');
    let peer_messages = words
        .take(peer_message::MAX_PEER_MESSAGES)
        .filter_map(fields::read_peer_message);
    Ok(peer_messages.collect())
}

/// A list of words; empty when the field is left out.
fn read_list<T>(
    m: &Message<'_>,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Refused> {
    let Some(text) = m.text(name)? else {
        return Ok(Vec::new());
    };
    let words: Option<Vec<T>> = text.split(' ').map(read).collect();
    words.ok_or(Refused::Malformed("cannot read a word of a list"))
}

fn needed<'m>(m: &'m Message<'_>, name: &str) -> Result<&'m str, Refused> {
    m.text(name)?
        .ok_or(Refused::Malformed("a field is missing"))
}

fn number(text: &str) -> Result<u64, Refused> {
    fields::number(text).ok_or(Refused::Malformed("not a hexadecimal number"))
}

fn hex(number: u64) -> String {
    format!("{number:x}")
}

/// Milliseconds in hexadecimal, rounded up so that a promised time is not shortened.
fn milliseconds(d: Duration) -> String {
    let ms = d.as_nanos().div_ceil(1_000_000);
    hex(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
