//! Processes as `/proc` shows them.

use std::fs;

/// The flag of a kernel thread.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The pids of all processes.
pub fn all_pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The name of the file that a process executes, also if an upgrade has deleted or replaced it.
pub fn program_name(pid: i32) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = program.file_name()?.to_str()?;
    Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
}

/// The state of a process, from `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The kernel's name of it: the first 15 bytes of the program's name, unless it has set another.
    pub name: String,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    state: char,
    flags: u64,
}

impl ProcessStat {
    /// Reads it. `None` if there is no such process.
    pub fn read(pid: i32) -> Option<ProcessStat> {
        ProcessStat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<ProcessStat> {
        let text = String::from_utf8_lossy(bytes);
        // The name may contain spaces and parentheses.
        let (before, after) = text.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        // State, parent, group, session, terminal, its group, flags.
        let mut fields = after.split(' ');
        Some(ProcessStat {
            name: name.to_owned(),
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            flags: fields.nth(3)?.parse().ok()?,
        })
    }

    /// Whether it has not ended. A zombie has.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether it is a thread of the kernel, which no signal reaches.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_contain_anything() {
        let stat = ProcessStat::parse(b"42 (a) R 1 (b) S 1 43 42 0 -1 4194560 100 0").unwrap();
        assert_eq!((stat.name.as_str(), stat.parent), ("a) R 1 (b", 1));
        assert_eq!(stat.group, 43);
        assert!(stat.is_alive() && !stat.is_kernel_thread());
        let kernel = ProcessStat::parse(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0").unwrap();
        assert!(kernel.is_kernel_thread());
        let zombie = ProcessStat::parse(b"7 (x) Z 1 7 7 0 -1 4194560 100 0").unwrap();
        assert!(!zombie.is_alive());
        assert_eq!(ProcessStat::parse(b"42 (x"), None);
    }

    #[test]
    fn this_process_is_among_all() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all_pids().any(|pid| pid == own));
        assert!(ProcessStat::read(own).unwrap().is_alive());
        let exe = std::env::current_exe().unwrap();
        let name = exe.file_name().unwrap().to_str().unwrap();
        assert_eq!(program_name(own).as_deref(), Some(name));
    }
}
