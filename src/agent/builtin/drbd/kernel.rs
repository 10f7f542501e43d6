//! Reads the state of a resource from the kernel and the meta-data: with `drbdsetup events2`, whose output is the same for the
//! modules 8.4 and 9, with `drbdadm get-gi`, and from the kernel's log.

use std::path::Path;

use super::history::DrbdHistory;
use crate::agent::exec::blocking::run_blocking;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};
use crate::model::drbd::{Peer, PeerVolume, Standing, State, Volume};
use crate::sys::kmsg;

/// Exists while the module is loaded.
const MODULE: &str = "/sys/module/drbd";

/// The state of a resource on this node; `None` if it is not up.
pub async fn read_state(resource: &str, limits: &Limits) -> Result<Option<State>, AgentError> {
    if !Path::new(MODULE).exists() {
        return Ok(None);
    }
    let words = ["events2", "--now", "--statistics", resource];
    let done = system_tool::run("drbdsetup", &words, limits).await?;
    if done.code != Some(0) {
        return Err(done.failure("drbdsetup events2"));
    }
    Ok(parse(&done.output))
}

/// Whether drbd.conf of this node has a resource.
pub async fn is_configured(resource: &str, limits: &Limits) -> Result<bool, AgentError> {
    if system_tool::find(&["drbdadm"]).is_none() {
        return Ok(false);
    }
    let done = system_tool::run("drbdadm", &["sh-dev", resource], limits).await?;
    match done.code {
        Some(0) => Ok(true),
        _ if done.message.contains("not defined in your config") => Ok(false),
        _ => Err(done.failure("drbdadm")),
    }
}

/// The state of a resource, for other nodes.
pub async fn read_standing(resource: &str, limits: &Limits) -> Result<Standing, AgentError> {
    let Some(state) = read_state(resource, limits).await? else {
        return Ok(Standing::default());
    };
    let ahead = is_ahead(resource, limits).await?;
    let history = read_history(resource, &state, limits).await?;
    Ok(Standing {
        ahead,
        ahead_for: history.ahead_for.filter(|_| ahead),
        split_brain: state.stands_alone() && history.split_brain,
        state: Some(state),
    })
}

/// What the kernel's log tells about a resource.
pub async fn read_history(
    resource: &str,
    state: &State,
    limits: &Limits,
) -> Result<DrbdHistory, AgentError> {
    let minors: Vec<u32> = state.volumes.iter().map(|v| v.minor).collect();
    let name = resource.to_owned();
    let work = move || kmsg::read().map(|log| DrbdHistory::from_log(&log, &name, &minors));
    let read = run_blocking(limits, "read the kernel's log", work).await?;
    // Without a log nothing is known, which is not held against the resource.
    Ok(read.unwrap_or_default())
}

/// Whether this side has data that its peer lacks. Then DRBD also keeps the generation that both sides share.
pub async fn is_ahead(resource: &str, limits: &Limits) -> Result<bool, AgentError> {
    let done = system_tool::run("drbdadm", &["get-gi", resource], limits).await?;
    if done.code != Some(0) {
        return Err(done.failure("drbdadm get-gi"));
    }
    Ok(done.output.lines().any(has_bitmap_generation))
}

/// `CURRENT:BITMAP:HISTORY:HISTORY:FLAG:...`, all generations in hexadecimal; the bitmap's is zero if the peer lacks nothing.
fn has_bitmap_generation(line: &str) -> bool {
    let mut parts = line.trim().split(':');
    let numbers = (parts.next(), parts.next());
    let (Some(current), Some(bitmap)) = numbers else {
        return false;
    };
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    number(current).is_some() && number(bitmap).is_some_and(|n| n != 0)
}

/// Lines such as `exists device name:db volume:0 minor:1 disk:UpToDate`, ended by `exists -`.
fn parse(text: &str) -> Option<State> {
    let mut state = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some("exists"), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        let pairs: Vec<(&str, &str)> = words.filter_map(|w| w.split_once(':')).collect();
        let pairs = NameValuePairs(&pairs);
        if kind == "resource" {
            state = Some(State {
                role: pairs.word("role").into(),
                suspended: pairs.word("suspended") != "no",
                volumes: Vec::new(),
                peers: Vec::new(),
            });
        } else if let Some(state) = &mut state {
            add_part(state, kind, &pairs);
        }
    }
    state
}

fn add_part(state: &mut State, kind: &str, pairs: &NameValuePairs<'_>) {
    match kind {
        "device" => state.volumes.push(Volume {
            volume: pairs.number("volume"),
            minor: pairs.number("minor"),
            disk: pairs.word("disk").into(),
        }),
        "connection" => state.peers.push(Peer {
            connection: pairs.word("connection").into(),
            role: pairs.word("role").into(),
            volumes: Vec::new(),
        }),
        // This line follows the one of its connection.
        "peer-device" => {
            let volume = PeerVolume {
                volume: pairs.number("volume"),
                disk: pairs.word("peer-disk").into(),
                replication: pairs.word("replication"),
                out_of_sync: pairs.number("out-of-sync"),
            };
            if let Some(peer) = state.peers.last_mut() {
                peer.volumes.push(volume);
            }
        }
        _ => {}
    }
}

/// The words `NAME:VALUE` of a line.
struct NameValuePairs<'l>(&'l [(&'l str, &'l str)]);

impl NameValuePairs<'_> {
    fn word(&self, name: &str) -> String {
        let pair = self.0.iter().find(|(n, _)| *n == name);
        pair.map_or("", |(_, value)| value).to_owned()
    }

    fn number<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        self.word(name).parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd::{Connection, Disk, Role};

    /// Of a kernel with the module 8.4.11.
    const SYNCED: &str = "\
exists resource name:db role:Primary suspended:no write-ordering:flush
exists connection name:db peer-node-id:0 conn-name:peer connection:Connected role:Secondary congested:no
exists device name:db volume:0 minor:1 disk:UpToDate size:65496 read:344 written:70005 al-writes:10 bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:no blocked:no
exists peer-device name:db peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:UpToDate resync-suspended:no received:0 sent:320 out-of-sync:0 pending:0 unacked:0
exists -
";
    /// The same, with the link given up.
    const ALONE: &str = "\
exists resource name:db role:Secondary suspended:no write-ordering:flush
exists connection name:db peer-node-id:0 connection:StandAlone role:Unknown congested:no
exists device name:db volume:0 minor:1 disk:Outdated size:65496 read:688
exists peer-device name:db peer-node-id:0 volume:0 replication:Off peer-disk:DUnknown resync-suspended:no received:0 sent:320 out-of-sync:65496 pending:0 unacked:0
exists -
";

    #[test]
    fn what_the_kernel_says_is_understood() {
        let state = parse(SYNCED).unwrap();
        assert_eq!(state.role, Role::Primary);
        assert_eq!(state.volumes.first().unwrap().minor, 1);
        assert!(state.up_to_date() && state.connected() && !state.stands_alone());
        assert_eq!(
            state.to_string(),
            "Primary, UpToDate, Connected to Secondary, UpToDate"
        );
        let state = parse(ALONE).unwrap();
        assert_eq!(state.volumes.first().unwrap().disk, Disk::Outdated);
        assert_eq!(
            state.peers.first().unwrap().connection,
            Connection::StandAlone
        );
        assert_eq!(state.out_of_sync(), 65_496);
        assert_eq!(
            state.to_string(),
            "Secondary, Outdated, not connected (StandAlone)"
        );
        assert_eq!(parse("exists -\n"), None);
    }

    #[test]
    fn a_word_that_is_not_known_is_kept_and_is_no_good_one() {
        let state = parse(&SYNCED.replace("disk:UpToDate size", "disk:Better size")).unwrap();
        assert!(!state.up_to_date());
        assert!(state.to_string().contains("Better"));
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }

    #[test]
    fn whoever_wrote_alone_is_ahead() {
        for (line, ahead) in [
            (
                "E7524FF5ECD63EA6:0000000000000000:0000000000000000:0000000000000000:1:1:0:0:0:0:0",
                false,
            ),
            (
                "9DB12553ACB78F43:E7524FF5ECD63EA6:0000000000000000:0000000000000000:1:1:1:0:0:0:0",
                true,
            ),
            ("no such thing", false),
            ("", false),
        ] {
            assert_eq!(has_bitmap_generation(line), ahead, "{line}");
        }
    }
}
