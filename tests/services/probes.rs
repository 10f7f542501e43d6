//! Shared by the tests of probes with real servers.

use std::sync::Arc;

use had::agent::builtin::drbd::fence::{NoPeers, Peers};
use had::agent::exec::environment::ScriptEnv;
use had::model::NodeName;
use had::model::health::Probe;
use had::probe::ActiveProbe;
use had::sys::netlink::Netlink;

use crate::common::limits;

/// A probe as the daemon has it, with its configuration in `/etc/ha.d`.
pub fn active(probe: &Probe) -> Arc<ActiveProbe> {
    let env = Arc::new(ScriptEnv::new(NodeName::new("alice"), "/etc/ha.d"));
    let peers: Arc<dyn Peers> = Arc::new(NoPeers);
    Arc::new(ActiveProbe::new(probe, &env, &Netlink::new(), &peers))
}

/// Runs a new probe once.
pub async fn run(probe: &Probe) -> Result<String, String> {
    active(probe).run(&limits()).await
}
