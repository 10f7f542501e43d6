//! The preference of the kernel when memory runs out. The daemon is spared (`OOMScoreAdjust=` of its unit), but what it
//! starts must not be: a database would inherit that, and something else would be killed in its place.

use std::ffi::CStr;
use std::{fs, io};

use nix::errno::Errno;
use tokio::process::Command;

const OWN: &str = "/proc/self/oom_score_adj";
const OF_CHILD: &CStr = c"/proc/self/oom_score_adj";

/// Gives a child the usual preference, if this process is spared.
pub fn unspare_child(command: &mut Command) {
    if fs::read_to_string(OWN).is_ok_and(|value| is_spared(&value)) {
        set_in_child(command);
    }
}

/// The same for this process. It goes on if that fails: being spared is the smaller evil.
pub fn unspare_this_process() {
    if fs::read_to_string(OWN).is_ok_and(|value| is_spared(&value)) {
        drop(fs::write(OWN, "0"));
    }
}

fn is_spared(value: &str) -> bool {
    value.starts_with('-')
}

#[allow(unsafe_code)]
fn set_in_child(command: &mut Command) {
    // SAFETY: between fork and exec only open, write and close are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(write_zero);
    }
}

/// An error here would keep the child from starting; being spared is the smaller evil.
#[allow(unsafe_code)]
#[allow(clippy::unnecessary_wraps)]
fn write_zero() -> io::Result<()> {
    // SAFETY: the path ends with a zero byte, and the buffer is as long as it says.
    unsafe {
        let file = libc::open(OF_CHILD.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, c"0".as_ptr().cast(), 1);
            libc::close(file);
        }
    }
    Errno::clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of_child(command: &mut Command) -> String {
        let output = command.arg("/proc/self/oom_score_adj").output().await;
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    #[tokio::test]
    async fn a_child_has_the_usual_preference() {
        assert!(is_spared("-900\n") && !is_spared("0\n"));
        // Being spared more needs a capability that a container lacks; being spared less does not.
        let before = fs::read_to_string(OWN).unwrap();
        fs::write(OWN, "500").unwrap();
        let inherited = of_child(&mut Command::new("cat")).await;
        let mut command = Command::new("cat");
        set_in_child(&mut command);
        let set = of_child(&mut command).await;
        fs::write(OWN, before).unwrap();
        assert_eq!((inherited.as_str(), set.as_str()), ("500\n", "0\n"));
    }
}
