//! Two network namespaces joined by a wire, for tests. They vanish with the thread that made them.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::Builder;

use super::machine::ip;

/// `left` has 10.9.0.1 and fd09::1, `right` has 10.9.0.2 and fd09::2; the interfaces are called so too.
pub struct Wire {
    left: File,
    right: File,
}

/// Runs a test with a wire of its own, in a thread and a runtime of its own. What is opened belongs to the
/// namespace in which it was opened and may then be used from anywhere.
pub fn on_a_wire(test: impl AsyncFnOnce(&Wire) + Send + 'static) {
    let body = move || {
        let wire = Wire::new();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(&wire));
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

impl Wire {
    fn new() -> Wire {
        let here = || File::open("/proc/thread-self/ns/net").unwrap();
        let fresh = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            here()
        };
        let wire = Wire {
            right: fresh(),
            left: fresh(),
        };
        wire.join();
        wire
    }

    /// Creates the wire; both ends come up.
    pub fn join(&self) {
        use std::os::fd::AsRawFd;
        let right = format!("/proc/{}/fd/{}", std::process::id(), self.right.as_raw_fd());
        self.left(|| {
            ip(&format!(
                "link add left type veth peer name right netns {right}"
            ));
            end("left", 1);
        });
        self.right(|| end("right", 2));
        // An interface that has just come up drops for a while what is sent.
        self.left(|| await_up("left"));
        self.right(|| await_up("right"));
    }

    /// Does something in the left namespace.
    pub fn left<T>(&self, work: impl FnOnce() -> T) -> T {
        setns(&self.left, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    }

    /// Does something in the right namespace.
    pub fn right<T>(&self, work: impl FnOnce() -> T) -> T {
        setns(&self.right, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    }
}

fn end(interface: &str, number: u8) {
    ip(&format!(
        "address add 10.9.0.{number}/24 broadcast + dev {interface}"
    ));
    ip(&format!(
        "address add fd09::{number}/64 dev {interface} nodad"
    ));
    ip(&format!("link set {interface} up"));
}

fn await_up(interface: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ip(&format!("link show {interface}")).contains("state UP") {
        assert!(Instant::now() < deadline, "{interface} does not come up");
        thread::sleep(Duration::from_millis(2));
    }
}
