//! Real-time priority for the heartbeat thread, and memory that is not swapped out. Either may be refused; the daemon then logs
//! that once and continues without it.

use std::{fs, io};

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// Gives the calling thread round-robin real-time priority (1 to 99; 1 is above everything that is not real-time).
/// Threads and processes that it starts have the normal priority again.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_NICE.
#[allow(unsafe_code)]
pub fn raise_priority(priority: i32) -> io::Result<()> {
    // SAFETY: sched_param is plain integers, for which all zeros is a value.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `param` lives through the call, which only reads it; 0 names the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Keeps every page of the process in memory once it is used, including future ones.
///
/// Only if the limit on locked memory can be lifted or does not apply: under a finite limit the allocations of a locked process
/// can fail.
///
/// # Errors
/// `PermissionDenied` without CAP_IPC_LOCK, unless there is no limit (`LimitMEMLOCK=infinity` in a systemd
/// unit).
pub fn lock_memory() -> io::Result<()> {
    let lifted = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if !has_capability(CAP_IPC_LOCK)? {
        lifted?;
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
    Ok(())
}

/// Its number in linux/capability.h.
const CAP_IPC_LOCK: u32 = 14;

fn has_capability(number: u32) -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    Ok(bits.is_some_and(|bits| bits >> number & 1 == 1))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// The policy and priority of the calling thread: fields 41 and 40 of its stat.
    fn scheduling() -> (i32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = after_name.split(' ').collect();
        (fields[38].parse().unwrap(), fields[37].parse().unwrap())
    }

    #[test]
    fn only_the_calling_thread_becomes_real_time() {
        let inside = || {
            raise_priority(1).unwrap();
            (scheduling(), thread::spawn(scheduling).join().unwrap())
        };
        let (itself, its_child) = thread::spawn(inside).join().unwrap();
        assert_eq!(itself, (libc::SCHED_RR, 1));
        assert_eq!(its_child, (libc::SCHED_OTHER, 0));
        assert_eq!(scheduling(), (libc::SCHED_OTHER, 0));
    }

    #[test]
    fn a_priority_that_does_not_exist_is_refused() {
        let verdict = thread::spawn(|| raise_priority(1000)).join().unwrap();
        assert_eq!(verdict.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn memory_is_locked() {
        lock_memory().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmLck:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib > 0);
    }
}
