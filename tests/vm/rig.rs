//! Two machines together, and the moments to which both can return.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::command::{finish, until};
use crate::image::Image;
use crate::machine::{DISKS, Init, Machine};
use crate::network::{self, NAMES};

/// What an administrator would look at first.
const STANDING: &str = "exec 2>&1; hactl status; hactl why; hactl drbd; cat /proc/drbd; grep -E 'database|drbd' /proc/self/mounts; ps -ef; ip -o addr; dmesg | grep -a drbd | tail -n 60; hactl history -n 200";

/// Two machines.
pub struct Rig {
    image: Image,
    /// `test6` and `test7`.
    pub machines: [Machine; 2],
}

impl Rig {
    /// Both are booted. `files` makes the folder that is laid over the root image of a machine.
    pub fn boot(image: Image, init: Init, files: impl Fn(&str) -> PathBuf) -> Rig {
        network::heal();
        let machines = NAMES.map(|name| Machine::new(name, init, &files(name)));
        let mut rig = Rig { image, machines };
        for machine in &mut rig.machines {
            machine.switch_on(&rig.image, None);
        }
        rig.machines.iter_mut().for_each(Machine::wait_up);
        rig
    }

    pub fn machine(&self, name: &str) -> &Machine {
        self.machines.iter().find(|m| m.name == name).unwrap()
    }

    pub fn machine_mut(&mut self, name: &str) -> &mut Machine {
        self.machines.iter_mut().find(|m| m.name == name).unwrap()
    }

    /// Switches one on and waits until commands can be run inside.
    pub fn switch_on(&mut self, name: &str) {
        let machine = self.machines.iter_mut().find(|m| m.name == name).unwrap();
        machine.switch_on(&self.image, None);
        machine.wait_up();
    }

    /// Keeps memory and disks of both, which go on. Both stand still first, so that neither hears of the other's future.
    pub fn keep(&self, moment: &str) {
        self.machines.iter().for_each(Machine::pause);
        for machine in &self.machines {
            let save = format!("exec:cat > {}", kept(moment, machine, "memory").display());
            machine.order(
                "migrate-set-parameters",
                &json!({ "max-bandwidth": 1u64 << 40 }),
            );
            machine.order("migrate", &json!({ "uri": save }));
        }
        for machine in &self.machines {
            migrated(machine);
            for disk in DISKS {
                copy(&machine.file(disk), &kept(moment, machine, disk));
            }
        }
        self.machines.iter().for_each(Machine::resume);
    }

    /// Whether there is such a moment.
    pub fn has_kept(&self, moment: &str) -> bool {
        kept(moment, &self.machines[0], "memory").exists()
    }

    /// Takes both back, and heals the network.
    pub fn go_back(&mut self, moment: &str) {
        self.machines.iter_mut().for_each(Machine::kill);
        network::heal();
        for machine in &mut self.machines {
            for disk in DISKS {
                copy(&kept(moment, machine, disk), &machine.file(disk));
            }
            let memory = kept(moment, machine, "memory");
            machine.switch_on(&self.image, Some(&memory));
        }
        self.machines.iter().for_each(migrated);
        self.machines.iter().for_each(Machine::resume);
        self.machines.iter_mut().for_each(Machine::wait_up);
    }

    /// Writes to a folder what both logged, and how they stand, where they still answer.
    pub fn save_logs(&mut self, folder: &Path) {
        for machine in &mut self.machines {
            if machine.is_on() && machine.answers() {
                let told = machine.try_sh(STANDING).map(|output| output.stdout);
                let path = folder.join(format!("{}-standing", machine.name));
                fs::write(path, told.unwrap_or_else(|e| e)).unwrap();
            }
            for name in ["guest.log", "console.log", "emulator.log"] {
                let to = folder.join(format!("{}-{name}", machine.name));
                drop(fs::copy(machine.file(name), to));
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.machines.iter_mut().for_each(Machine::kill);
        for entry in fs::read_dir(".").unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("kept-") {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

fn kept(moment: &str, machine: &Machine, what: &str) -> PathBuf {
    PathBuf::from(format!("kept-{moment}-{}-{what}", machine.name))
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    finish(cp.arg("--sparse=always").args([from, to]));
}

/// Waits until a memory is written, or read.
fn migrated(machine: &Machine) {
    until(&format!("memory of {}", machine.name), || {
        let state = machine.order("query-migrate", &json!({}));
        assert_ne!(state["status"], "failed", "{state}");
        (state["status"] == "completed").then_some(())
    });
}
