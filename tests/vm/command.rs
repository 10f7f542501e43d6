//! Programs of this machine, and waiting for what they bring about.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A wait fails only when this long nothing has come of it: emulated machines are slow, and this one may be busy.
pub const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(50);

/// Runs a program to its good end; what it wrote to stdout.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> String {
    finish(Command::new(program).args(args))
}

/// Runs a command to its good end; what it wrote to stdout.
pub fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}: {said}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same, with something to read.
pub fn feed(command: &mut Command, input: &str) {
    let child = command.stdin(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Waits until something is there, and says how long that took.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        let found = look();
        let waited = begun.elapsed();
        if let Some(found) = found {
            println!("    {:6.1} s  {what}", waited.as_secs_f64());
            return found;
        }
        assert!(waited < PATIENCE, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until something is so.
pub fn until_so(what: &str, mut is: impl FnMut() -> bool) {
    until(what, || is().then_some(()));
}
