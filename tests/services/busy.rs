//! Stopping a mount that is in use: its users are ended, and nobody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use had::agent::{Agent, AgentError, Status};
use nix::sys::signal::Signal;

use crate::common::{Log, Place, Process, alone, filesystem, limits, path, sh, wait, within};
use crate::filesystem::mounted;

impl Place {
    async fn mounted() -> Place {
        let place = Place::ext4();
        place.agent.start(&limits()).await.unwrap();
        for name in ["file", "data"] {
            fs::write(place.point.join(name), "x".repeat(8192)).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the shell command and then sleeps. Returns once it sleeps.
    fn process(&self, name: &str, command: &str) -> Process {
        let ready = self.at(&format!("{name}.ready"));
        let process = Process::start(&format!(
            "{command}; : > {}; exec sleep 1000",
            ready.display()
        ));
        wait(name, || ready.exists() && command_of(process.pid()) != "sh");
        process
    }
}

fn command_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.trim_end().to_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

const TERM: i32 = 15;
const KILL: i32 = 9;

#[test]
fn every_kind_of_user_is_found_named_and_ended_and_nobody_else() {
    alone(async {
        let place = Place::mounted().await;
        let point = shown(&place.point);
        let bound = place.at("bound");
        fs::create_dir(&bound).unwrap();
        sh(&format!("mount --bind {point} {}", bound.display()));
        sh(&format!("mkdir {point}/jail && cp /bin/sleep {point}/prog"));
        let beside = place.at("m-beside");
        fs::create_dir(&beside).unwrap();

        let stopped = place.process("stopped", &format!("exec 3<{point}/file"));
        stopped.signal(Signal::SIGSTOP);
        let stubborn = place.process("stubborn", &format!("trap '' TERM; exec 3>>{point}/log"));
        let program = Process::start(&format!("exec {point}/prog 1000"));
        wait("the program", || command_of(program.pid()) == "prog");
        let mut users = [
            (
                "open file",
                place.process("open", &format!("exec 3<{point}/file")),
                TERM,
            ),
            ("open file", stopped, KILL),
            ("open file", stubborn, KILL),
            (
                "working directory",
                place.process("cwd", &format!("cd {point}")),
                TERM,
            ),
            (
                "working directory",
                place.process("bind", &format!("cd {}", bound.display())),
                TERM,
            ),
            ("program", program, TERM),
        ];
        let mut innocents = [
            place.process("outside", &format!("cd {}", place.folder.path().display())),
            place.process("beside", &format!("cd {}; exec 3>x", beside.display())),
            Process::start(&format!("exec tail -f /dev/null --pid=1 # {point}/file")),
        ];
        let (log, guard) = Log::catch();
        let begun = Instant::now();
        place.agent.stop(&within(18)).await.unwrap();
        assert!(begun.elapsed().as_secs() < 18);
        drop(guard);
        assert_eq!((mounted(&place.point), mounted(&bound)), (None, None));
        let log = log.text();
        for (how, user, signal) in &mut users {
            let name = format!("(pid {}, user root: {how} ", user.pid());
            assert!(log.contains(&name), "{name} is not in\n{log}");
            assert_eq!(user.ended_by(), Some(*signal), "{name}\n{log}");
        }
        for innocent in &mut innocents {
            assert!(innocent.runs());
            assert!(!log.contains(&format!("pid {},", innocent.pid())), "{log}");
        }
        assert_eq!(place.agent.monitor(&limits()).await, Ok(Status::Stopped));
    });
}

#[test]
fn a_file_that_is_only_mapped_and_a_root_directory_count_too() {
    alone(async {
        let place = Place::mounted().await;
        let point = shown(&place.point);
        // A library on the mount. Its descriptor is closed once it is mapped.
        sh(&format!(
            "cp $(ldd /bin/sleep | awk '/libc.so/ {{print $3}}') {point}/lib.so"
        ));
        let mut mapped = place.process("mapped", &format!("export LD_PRELOAD={point}/lib.so"));
        sh(&format!(
            "mkdir {point}/jail && cp /usr/lib/klibc/bin/sleep {point}/jail 2>/dev/null || cp /bin/sleep {point}/jail"
        ));
        for library in sh("ldd /bin/sleep | grep -o '/[^ ]*'").lines() {
            sh(&format!("install -D {library} {point}/jail{library}"));
        }
        let mut jailed = Process::start(&format!("exec chroot {point}/jail /sleep 1000"));
        wait("the jail", || command_of(jailed.pid()) == "sleep");
        let (log, guard) = Log::catch();
        place.agent.stop(&within(18)).await.unwrap();
        drop(guard);
        assert_eq!(mapped.ended_by(), Some(TERM), "{}", log.text());
        assert_eq!(jailed.ended_by(), Some(TERM), "{}", log.text());
        assert!(log.text().contains(": mapped file "), "{}", log.text());
        assert!(log.text().contains("root directory "), "{}", log.text());
    });
}

#[test]
fn what_was_mounted_inside_goes_first_with_its_users() {
    alone(async {
        let place = Place::mounted().await;
        let inside = place.point.join("inside");
        fs::create_dir(&inside).unwrap();
        sh(&format!("mount -t tmpfs t {}", inside.display()));
        let mut user = place.process("inside", &format!("cd {}", inside.display()));
        place.agent.stop(&within(18)).await.unwrap();
        assert_eq!(user.ended_by(), Some(TERM));
        assert_eq!((mounted(&inside), mounted(&place.point)), (None, None));
    });
}

#[test]
fn users_of_the_file_system_behind_a_bind_mount_are_not_its_users() {
    alone(async {
        let place = Place::mounted().await;
        let (point, bound) = (shown(&place.point), place.at("bound"));
        fs::create_dir(&bound).unwrap();
        let agent = filesystem(&[&point, path(&bound), "bind"]);
        agent.start(&limits()).await.unwrap();
        let file = bound.join("file");
        let mut outside = place.process("outside", &format!("exec 3<{point}/file; cd {point}"));
        let mut inside = place.process("inside", &format!("exec 3<{}", file.display()));
        agent.stop(&within(18)).await.unwrap();
        assert_eq!(inside.ended_by(), Some(TERM));
        assert!(outside.runs());
        assert!(mounted(&place.point).is_some() && mounted(&bound).is_none());
        drop(outside);
        place.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_mount_that_somebody_detached_is_not_gone_while_it_is_used() {
    alone(async {
        let place = Place::mounted().await;
        let mut user = place.process(
            "user",
            &format!("trap '' TERM; exec 3>{}/new", shown(&place.point)),
        );
        sh(&format!("umount -l {}", shown(&place.point)));
        assert_eq!(mounted(&place.point), None);
        place.agent.stop(&within(18)).await.unwrap();
        assert_eq!(user.ended_by(), Some(KILL));
    });
}

#[test]
fn what_the_kernel_itself_holds_is_named_and_never_called_stopped() {
    alone(async {
        let place = Place::mounted().await;
        let point = shown(&place.point);
        sh(&format!("truncate -s 1M {point}/image"));
        let on_top = sh(&format!("losetup --find --show {point}/image"));
        let on_top = on_top.trim();
        let error = place.agent.stop(&within(4)).await.unwrap_err();
        sh(&format!("losetup -d {on_top}"));
        let AgentError::TimedOut(text) = error else {
            panic!("{error}")
        };
        let wanted = format!("held by loop device {on_top} on {point}/image (losetup -d {on_top})");
        assert!(text.contains(&wanted), "{text}");
        assert!(
            text.starts_with(&format!("cannot unmount {point}")),
            "{text}"
        );
        assert_eq!(place.agent.monitor(&limits()).await, Ok(Status::Running));
        place.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_swap_file_is_named() {
    alone(async {
        let place = Place::mounted().await;
        let swap = shown(&place.point.join("swap"));
        sh(&format!(
            "dd if=/dev/zero of={swap} bs=1M count=4 2>/dev/null; chmod 600 {swap}; mkswap {swap} >/dev/null; swapon {swap}"
        ));
        let error = place.agent.stop(&within(4)).await.unwrap_err().to_string();
        sh(&format!("swapoff {swap}"));
        assert!(
            error.contains(&format!("swap file {swap} (swapoff {swap})")),
            "{error}"
        );
        place.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn another_mount_namespace_that_keeps_it_is_named() {
    alone(async {
        let place = Place::mounted().await;
        let mut keeper = Process::start("exec unshare --mount --propagation private sleep 1000");
        wait("the namespace", || command_of(keeper.pid()) == "sleep");
        let error = place.agent.stop(&within(4)).await.unwrap_err().to_string();
        assert_eq!(mounted(&place.point), None);
        let wanted = format!(
            "nsenter -t {} -m umount {}",
            keeper.pid(),
            shown(&place.point)
        );
        assert!(error.contains(&wanted), "{error}");
        assert!(
            error.contains(&format!(
                "something still uses {} exclusively",
                shown(&place.disk.device)
            )),
            "{error}"
        );
        assert!(keeper.runs(), "it uses nothing there");
        sh(&wanted);
        place.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_stop_that_is_aborted_ends_at_once_and_kills_nobody_before_the_time() {
    alone(async {
        let place = Place::mounted().await;
        let point = shown(&place.point);
        let mut user = place.process("user", &format!("trap '' TERM; exec 3>{point}/new"));
        let (log, guard) = Log::catch();
        let limits_of_stop = limits();
        let abort = limits_of_stop.abort.clone();
        let (stopped, ()) = tokio::join!(place.agent.stop(&limits_of_stop), async {
            while !log.text().contains("sending TERM") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            abort.abort();
        });
        drop(guard);
        let error = stopped.unwrap_err().to_string();
        assert!(error.contains("aborted"), "{error}");
        assert!(user.runs(), "{}", log.text());
        drop(user);
        place.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn what_the_daemon_itself_has_open_is_named_and_it_does_not_end_itself() {
    alone(async {
        let place = Place::mounted().await;
        let file = fs::File::open(place.point.join("file")).unwrap();
        let error = place.agent.stop(&within(4)).await.unwrap_err().to_string();
        let itself = format!("(pid {}, user root: open file", std::process::id());
        assert!(error.contains(&itself), "{error}");
        drop(file);
        place.agent.stop(&limits()).await.unwrap();
    });
}
