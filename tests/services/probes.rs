//! Shared by the tests of probes with real servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use had::agent::builtin::drbd::fence::{NoPeers, Peers};
use had::agent::exec::environment::ScriptEnv;
use had::model::NodeName;
use had::model::health::Probe;
use had::probe::ActiveProbe;
use had::sys::netlink::Netlink;

use nix::sched::{CloneFlags, unshare};

use crate::common::{limits, sh};

/// Gives this thread, and all that it starts, a network with nothing but loopback.
pub fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    sh("ip link set lo up");
}

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

/// Runs a probe again and again until it passes or fails, as wanted. Returns its text.
pub async fn until(probe: &Probe, passes: bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match run(probe).await {
            Ok(text) if passes => return text,
            Err(text) if !passes => return text,
            seen => assert!(Instant::now() < deadline, "not in time: {probe}: {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
