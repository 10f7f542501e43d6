//! A machine for tests: a thread in a network namespace of its own, with a runtime of its own. The namespace goes
//! when the machine is dropped.

#![allow(clippy::missing_panics_doc)]

use std::fs::File;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::Builder;

type Job = Box<dyn FnOnce(&tokio::runtime::Runtime) + Send>;

pub(crate) struct Machine {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
}

impl Machine {
    /// With loopback up, and nothing else.
    pub fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tid_tx, tid_rx) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
            tid_tx.send(nix::unistd::gettid().as_raw()).unwrap();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            for job in queue {
                job(&runtime);
            }
        });
        let machine = Machine {
            jobs: Some(jobs),
            thread: Some(thread),
            tid: tid_rx.recv().unwrap(),
        };
        machine.ip("link set lo up");
        machine
    }

    /// With `eth0` that is up and has no address. Its cable ends at `port`, on the same machine.
    pub fn with_bare_eth0() -> Self {
        let machine = Machine::new();
        machine.ip("link add eth0 type veth peer name port");
        machine.ip("link set port up");
        machine.ip("link set eth0 up");
        machine
    }

    /// With `eth0` that has 10.0.0.1/24 and fd00::1/64.
    pub fn with_eth0() -> Self {
        let machine = Machine::with_bare_eth0();
        machine.ip("addr add 10.0.0.1/24 brd + dev eth0");
        machine.ip("addr add fd00::1/64 dev eth0 nodad");
        machine
    }

    /// Two machines on one cable, as [`Wire`] has them.
    pub fn pair() -> (Self, Self) {
        let Wire { left, right } = Wire::new();
        (left, right)
    }

    /// Does something in this machine's network, in the calling thread, which stays there.
    fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let network = File::open(format!("/proc/self/task/{}/ns/net", self.tid)).unwrap();
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    }

    /// Runs a task here and waits for it.
    pub fn run<T, F>(&self, task: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        self.begin(task).recv().expect("the task panicked")
    }

    /// Begins a task here; its value comes over the channel.
    pub fn begin<T, F>(&self, task: impl FnOnce() -> F + Send + 'static) -> mpsc::Receiver<T>
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        let (tx, rx) = mpsc::channel();
        let job: Job = Box::new(move |runtime| {
            tx.send(runtime.block_on(task())).ok();
        });
        self.jobs.as_ref().unwrap().send(job).expect("alive");
        rx
    }

    /// `ip` with these words; returns what it prints.
    pub fn ip(&self, words: &str) -> String {
        let words = words.to_owned();
        self.run(move || async move { ip(&words) })
    }
}

/// `ip` in the namespace of the calling thread.
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A failed test has said its word already.
            thread.join().ok();
        }
    }
}

/// Two machines on one cable, `eth0` at either end: `left` has 10.0.0.1 and fd00::1, `right` has 10.0.0.2 and fd00::2.
pub(crate) struct Wire {
    left: Machine,
    right: Machine,
}

/// Runs a test with a wire, in its own thread and runtime. What it opens in a machine can then be used from anywhere.
pub(crate) fn on_a_wire(test: impl AsyncFnOnce(&Wire) + Send + 'static) {
    let body = move || {
        let wire = Wire::new();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(&wire));
    };
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

impl Wire {
    fn new() -> Wire {
        let wire = Wire {
            left: Machine::new(),
            right: Machine::new(),
        };
        wire.join();
        wire
    }

    /// Lays the cable.
    pub fn join(&self) {
        let tid = self.right.tid;
        self.left.ip(&format!(
            "link add eth0 type veth peer name eth0 netns {tid}"
        ));
        for (machine, n) in [(&self.left, 1), (&self.right, 2)] {
            machine.ip(&format!("addr add 10.0.0.{n}/24 brd + dev eth0"));
            machine.ip(&format!("addr add fd00::{n}/64 dev eth0 nodad"));
            machine.ip("link set eth0 up");
        }
        // An interface that has just come up drops for a while what is sent.
        for machine in [&self.left, &self.right] {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !machine.ip("link show eth0").contains("state UP") {
                assert!(Instant::now() < deadline, "eth0 does not come up");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Does something in the network of the left machine.
    pub fn left<T>(&self, work: impl FnOnce() -> T) -> T {
        self.left.enter(work)
    }

    /// Does something in the network of the right machine.
    pub fn right<T>(&self, work: impl FnOnce() -> T) -> T {
        self.right.enter(work)
    }
}
