//! What the scenarios do with the two machines: DRBD, the daemon, and what its tool says.

use had::model::heartbeat::GroupState;
use had::model::status::{GroupStatus, Liveness, Status};

use crate::command::{until, until_so};
use crate::files::{Extra, lay, peer_of};
use crate::image::Image;
use crate::machine::{Init, Machine};
use crate::network::NAMES;
use crate::rig::Rig;

/// Two guests with DRBD.
pub struct Pair {
    pub rig: Rig,
}

impl Pair {
    /// Both booted; nothing of ours runs.
    pub fn boot(image: &Image, init: Init, extra: &Extra) -> Pair {
        let rig = Rig::boot(image.clone(), init, |name| lay(name, extra));
        Pair { rig }
    }

    pub fn on(&self, name: &str) -> &Machine {
        self.rig.machine(name)
    }

    /// The same on both.
    pub fn both(&self, script: &str) {
        let running = NAMES.map(|name| self.on(name).begin(script));
        for (name, running) in NAMES.iter().zip(&running) {
            let output = self.on(name).done(running);
            assert_eq!(output.code, 0, "{name}: {script}: {output:?}");
        }
    }

    // --- DRBD

    /// DRBD on both, connected, and in sync without having copied anything.
    pub fn make_drbd(&self) {
        self.both("modprobe drbd && drbdadm create-md --force db && drbdadm up db");
        self.until_drbd("test6", "cstate", "Connected");
        self.on("test6")
            .sh("drbdadm -- --clear-bitmap new-current-uuid db");
        for name in NAMES {
            self.until_drbd(name, "dstate", "UpToDate/UpToDate");
        }
    }

    /// What `drbdadm` says of `role`, `cstate` or `dstate`; nothing where it cannot say.
    pub fn drbd(&self, name: &str, what: &str) -> String {
        let output = self.on(name).run(&format!("drbdadm {what} db"));
        output.stdout.trim().to_owned()
    }

    pub fn until_drbd(&self, name: &str, what: &str, wanted: &str) {
        let mut last = String::new();
        until_so(&format!("{what} {wanted} at {name}"), || {
            let now = self.drbd(name, what);
            if now != last {
                println!("    {name}: {what} {now}");
                last.clone_from(&now);
            }
            now == wanted
        });
    }

    // --- The daemon

    /// Starts the daemon.
    pub fn start_had(&self, name: &str) {
        self.on(name).spawn("/usr/sbin/had");
    }

    /// Ends it in order, and waits for that.
    pub fn stop_had(&self, name: &str) {
        self.on(name)
            .sh("pid=$(pidof had) && kill $pid && while [ -e /proc/$pid ]; do sleep 0.2; done");
    }

    /// What the daemon of a node says, if it answers.
    pub fn status(&self, name: &str) -> Option<Status> {
        let output = self.on(name).try_sh("hactl status --json; true").ok()?;
        serde_json::from_str(&output.stdout).ok()
    }

    /// Waits until a node's status shows it.
    pub fn until_status(&self, name: &str, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        until(&format!("at {name}: {what}"), || {
            self.status(name).filter(&is)
        })
    }

    /// Waits until a node's status, as people read it, contains a text.
    pub fn says(&self, name: &str, text: &str) {
        until(&format!("status at {name} says {text:?}"), || {
            let output = self.on(name).run("hactl status; true");
            output.stdout.contains(text).then_some(())
        });
    }

    /// Waits until a node has said why it does not take over from an owner that it does not hear: DRBD's word, or the address.
    pub fn until_refused(&self, name: &str) {
        until_so(&format!("{name} says why it does not take over"), || {
            let told = self.on(name).run("hactl why").stdout;
            told.contains("is Primary on its peer") || told.contains("still answers")
        });
    }

    /// Waits until a node hears the other.
    pub fn until_active(&self, name: &str) {
        let peer = peer_of(name);
        self.until_status(name, &format!("{peer} is active"), |s| {
            liveness(s, peer) == Some(Liveness::Active)
        });
    }

    /// Waits until a node says that it has the group, whole.
    pub fn until_online(&self, name: &str) {
        self.until_status(name, &format!("the group is online at {name}"), |s| {
            state_at(s, name) == Some(GroupState::Online)
        });
    }
}

/// What a status says of a node's life.
pub fn liveness(status: &Status, name: &str) -> Option<Liveness> {
    let node = status.nodes.iter().find(|n| n.name.as_str() == name);
    node.map(|n| n.liveness)
}

/// The one group.
fn group(status: &Status) -> &GroupStatus {
    &status.groups[0]
}

/// Its state at a node.
pub fn state_at(status: &Status, name: &str) -> Option<GroupState> {
    let mut states = group(status).states.iter();
    states
        .find(|(node, _)| node.as_str() == name)
        .map(|(_, s)| *s)
}
