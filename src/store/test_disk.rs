//! For tests: a small disk that may become read-only.

use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a tmpfs in a mount namespace of its own.
pub(super) fn on_tmpfs(options: &'static str, test: impl FnOnce(&Path) + Send + 'static) {
    let thread = thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let tmpfs = Some("tmpfs");
        mount(tmpfs, folder.path(), tmpfs, MsFlags::empty(), Some(options)).unwrap();
        test(folder.path());
        nix::mount::umount2(folder.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    thread.join().unwrap();
}

/// Mounts it again with other flags.
pub(super) fn remount(folder: &Path, flags: MsFlags, options: &str) {
    let flags = flags | MsFlags::MS_REMOUNT;
    mount(None::<&str>, folder, None::<&str>, flags, Some(options)).unwrap();
}
