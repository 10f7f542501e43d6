//! Splits a heartbeat with many groups over several datagrams.

use super::fields::{Known, group_word};
use super::heartbeat::{LOADAVG_MAX, write};
use super::{Envelope, message};
use crate::model::Sequence;
use crate::model::heartbeat::{GroupReport, Heartbeat};

/// A cluster's name longer than this makes pages longer than the limit by the rest.
const CLUSTER_MAX: usize = 64;

/// Splits `hb` so that each part, whatever its sequence, envelope and key, encodes to at most `limit` bytes.
///
/// Groups keep their order; all else is the same in every part, the sequence too: the caller numbers them. When
/// what is not groups takes more than three quarters of the limit, or one group alone is longer, a part may exceed it,
/// and IP cuts it into fragments.
pub fn pages(mut hb: Heartbeat, limit: usize) -> Vec<Heartbeat> {
    let groups = std::mem::take(&mut hb.groups);
    let room = limit.saturating_sub(frame(&hb)).max(limit / 4);
    let mut parts: Vec<Vec<GroupReport>> = vec![Vec::new()];
    let mut used = 0_usize;
    let known = Known::new(&hb.src, hb.generation, &hb.heard);
    for group in groups {
        let size = group_word(&group, &known).len() + 1;
        used = used.saturating_add(size);
        match parts.last_mut() {
            Some(part) if used <= room || part.is_empty() => part.push(group),
            _ => {
                used = size;
                parts.push(vec![group]);
            }
        }
    }
    let page = |groups| Heartbeat {
        groups,
        ..hb.clone()
    };
    parts.into_iter().map(page).collect()
}

/// How long a part is without its groups, at most.
fn frame(without_groups: &Heartbeat) -> usize {
    let longest = Heartbeat {
        sequence: Sequence(u64::MAX),
        ..without_groups.clone()
    };
    let env = Envelope {
        uuid: [0; 16],
        wall_seconds: u64::MAX,
        loadavg: "9".repeat(LOADAVG_MAX),
        ttl: u32::MAX,
        cluster: "c".repeat(CLUSTER_MAX),
    };
    let field = "65535:(0)g=,".len();
    write(&longest, &env).to_netstrings().len() + field + message::LONGEST_DIGEST
}
