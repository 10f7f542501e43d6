//! `mysqld` with a real MariaDB.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use had::agent::builtin::mysqld::Mysqld;
use had::agent::builtin::mysqld::arguments::ServerArguments;
use had::agent::{Agent, AgentError, Status};
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::{
    Disk, Log, Process, alone, filesystem, folder, limits, path, sh, wait, within,
};

/// The configuration of a small server.
const SMALL: &str = "[mysqld]
innodb_buffer_pool_size=8M
innodb_log_file_size=4M
key_buffer_size=1M
performance_schema=0
skip-name-resolve
";

/// An initialised data directory, made once for all tests.
pub fn template() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(place.join("mariadb.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let version = sh("mariadbd --version");
    let name: String = version
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let made = place.join(name);
    if !made.exists() {
        let new = place.join("mariadb.new");
        sh(&format!("rm -rf {}", new.display()));
        let config = place.join("mariadb.cnf");
        fs::write(&config, SMALL).unwrap();
        sh(&format!(
            "mariadb-install-db --defaults-file={} --datadir={} --user=root --skip-test-db >/dev/null",
            config.display(),
            new.display()
        ));
        fs::rename(new, &made).unwrap();
    }
    made
}

/// Fills a data directory.
pub fn install(datadir: &Path) {
    sh(&format!(
        "cp -a {} {1} && chown -R mysql: {1}",
        template().display(),
        datadir.display()
    ));
}

/// Writes the configuration of a server with its files in this folder. `more` is added to it.
pub fn configuration(folder: &Path, more: &str) -> PathBuf {
    let file = folder.join("my.cnf");
    let shown = folder.display();
    let places =
        format!("skip-networking\nlog-error={shown}/run/error.log\npid-file={shown}/run/pid\n");
    fs::write(&file, format!("{SMALL}{places}{more}")).unwrap();
    file
}

struct Server {
    folder: TempDir,
    agent: Mysqld,
}

impl Server {
    /// Installs a server without starting it.
    fn new(more: &str) -> Server {
        let folder = folder();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        sh(&format!("chown mysql: {}", run.display()));
        install(&folder.path().join("data"));
        configuration(folder.path(), more);
        let agent = agent(&folder);
        Server { folder, agent }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The next daemon's agent.
    fn again(&self) -> Mysqld {
        agent(&self.folder)
    }

    fn pid(&self) -> i32 {
        let text = fs::read_to_string(self.at("run/pid")).unwrap();
        text.trim().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    fn query(&self, query: &str) -> String {
        sh(&format!(
            "mariadb -N --socket={}/run/sock -e \"{query}\"",
            self.folder.path().display()
        ))
    }
}

impl Drop for Server {
    /// However the test ended, nothing of it may stay running.
    fn drop(&mut self) {
        let data = fs::canonicalize(self.at("data")).unwrap_or_default();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data) {
                let pid = entry.file_name().into_string().unwrap().parse().unwrap();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
        }
    }
}

fn agent(folder: &TempDir) -> Mysqld {
    let at = |name: &str| folder.path().join(name);
    let args = ServerArguments {
        defaults: Some(at("my.cnf")),
        datadir: Some(at("data")),
        socket: Some(at("run/sock")),
        user: Some("mysql".into()),
    };
    Mysqld::new(args, at("login.cnf"))
}

#[test]
fn it_starts_answers_and_stops_in_a_session_of_its_own() {
    alone(async {
        let server = Server::new("");
        let agent = &server.agent;
        assert_eq!(agent.monitor(&limits()).await, Ok(Status::Stopped));
        agent.stop(&limits()).await.unwrap();
        agent.start(&limits()).await.unwrap();
        let pid = server.pid();
        agent.start(&limits()).await.unwrap();
        assert_eq!(server.pid(), pid);
        assert_eq!(agent.monitor(&limits()).await, Ok(Status::Running));
        assert_eq!(
            sh(&format!("ps -o sid=,user= -p {pid}"))
                .split_whitespace()
                .collect::<Vec<_>>(),
            [&pid.to_string(), "mysql"]
        );
        // A file that stays open on the mount would keep it from being unmounted.
        let files = fs::read_dir("/proc/self/fd").unwrap();
        let open = files.filter_map(|f| fs::read_link(f.unwrap().path()).ok());
        let ours: Vec<PathBuf> = open.filter(|f| f.starts_with(server.at(""))).collect();
        assert_eq!(ours, Vec::<PathBuf>::new());
        // The next daemon recognises it.
        assert_eq!(server.again().monitor(&limits()).await, Ok(Status::Running));
        for _ in 0..2 {
            server.again().stop(&limits()).await.unwrap();
            assert_eq!(agent.monitor(&limits()).await, Ok(Status::Stopped));
        }
        let log = fs::read_to_string(server.at("run/error.log")).unwrap();
        assert!(log.contains("Shutdown complete"), "{log}");
    });
}

#[test]
fn a_word_without_arguments_means_the_server_of_the_packages() {
    alone(async {
        let folder = folder();
        let data = folder.path().join("data");
        install(&data);
        // Its paths and its port are those of this machine, so other folders are mounted there, in a network namespace.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        sh("ip link set lo up");
        sh(&format!("mount --bind {} /var/lib/mysql", data.display()));
        sh("mount -t tmpfs t /run && mount -t tmpfs t /var/log");
        let agent = Mysqld::new(ServerArguments::default(), folder.path().join("login.cnf"));
        agent.start(&limits()).await.unwrap();
        assert_eq!(agent.monitor(&limits()).await, Ok(Status::Running));
        assert_eq!(
            sh("mariadb -N -e 'select @@datadir'").trim(),
            "/var/lib/mysql/"
        );
        agent.stop(&limits()).await.unwrap();
        assert_eq!(agent.monitor(&limits()).await, Ok(Status::Stopped));
        sh("umount /var/lib/mysql");
    });
}

#[test]
fn killed_it_is_stopped_and_what_it_left_hinders_no_start() {
    alone(async {
        let server = Server::new("");
        server.agent.start(&limits()).await.unwrap();
        server.query(
            "create database d; create table d.t (n int) engine=innodb; insert into d.t values (7)",
        );
        let pid = server.pid();
        server.signal(Signal::SIGKILL);
        wait("its end", || {
            !Path::new(&format!("/proc/{pid}/cwd"))
                .join("mysql")
                .exists()
        });
        assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Stopped));
        assert!(server.at("run/sock").exists() && server.at("run/pid").exists());
        // The pid in both files is that of a living process.
        fs::write(server.at("run/pid"), "1\n").unwrap();
        fs::write(server.at("run/sock.lock"), "1\n").unwrap();
        let (log, guard) = Log::catch();
        server.agent.start(&limits()).await.unwrap();
        drop(guard);
        assert!(
            log.text().contains("that an earlier server left behind"),
            "{}",
            log.text()
        );
        assert!(!server.at("run/sock.lock").exists());
        assert_eq!(server.query("select n from d.t").trim(), "7");
        server.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn one_that_hangs_is_not_well_and_is_ended_all_the_same() {
    alone(async {
        let server = Server::new("");
        server.agent.start(&limits()).await.unwrap();
        server.signal(Signal::SIGSTOP);
        let begun = Instant::now();
        let error = server.agent.monitor(&within(2)).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(40));
        assert!(
            error.to_string().contains("runs but does not answer"),
            "{error}"
        );
        server.agent.stop(&limits()).await.unwrap();
        let log = fs::read_to_string(server.at("run/error.log")).unwrap();
        assert!(log.contains("Shutdown complete"), "{log}");
    });
}

#[test]
fn one_that_does_not_shut_down_in_time_is_killed_and_that_is_said() {
    alone(async {
        let server = Server::new("");
        let program = server.at("mysqld");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut stubborn = Process::start(&format!(
            "cd {} && exec env --ignore-signal=TERM {} 1000",
            server.at("data").display(),
            program.display()
        ));
        let exe = format!("/proc/{}/exe", stubborn.pid());
        wait("it", || fs::read_link(&exe).is_ok_and(|exe| exe == program));
        let (log, guard) = Log::catch();
        // Reap the server when it ends, as its own parent would.
        let reaper = std::thread::spawn(move || stubborn.ended_by());
        server.agent.stop(&within(2)).await.unwrap();
        drop(guard);
        assert_eq!(reaper.join().unwrap(), Some(9));
        assert!(
            log.text()
                .contains("did not shut down in time and is killed"),
            "{}",
            log.text()
        );
    });
}

#[test]
fn out_of_connections_is_alive() {
    alone(async {
        let server = Server::new("max_connections=10\n");
        server.agent.start(&limits()).await.unwrap();
        let client = || {
            Process::start(&format!(
                "exec mariadb --socket={} -e 'select sleep(1000)' 2>/dev/null",
                server.at("run/sock").display()
            ))
        };
        // One more than allowed is kept for the administrator; who is refused gives up.
        let _clients: Vec<Process> = (0..20).map(|_| client()).collect();
        wait("no more connections", || {
            let output = Command::new("mariadb")
                .arg(format!("--socket={}", server.at("run/sock").display()))
                .args(["-e", "select 1"])
                .output();
            let said = String::from_utf8(output.unwrap().stderr).unwrap();
            said.contains("Too many connections")
        });
        let (log, guard) = Log::catch();
        for _ in 0..2 {
            assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Running));
        }
        drop(guard);
        assert_eq!(
            log.text().matches("all its connections are in use").count(),
            1,
            "{}",
            log.text()
        );
        server.agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_password_is_used_and_never_seen() {
    alone(async {
        let server = Server::new("");
        server.agent.start(&limits()).await.unwrap();
        server.query("alter user root@localhost identified via mysql_native_password using password('geheim-4711')");
        let (log, guard) = Log::catch();
        assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Running));
        assert!(log.text().contains("it refuses queries"), "{}", log.text());
        drop(guard);

        let login = server.at("login.cnf");
        fs::write(&login, "[client]\nuser=root\npassword=geheim-4711\n").unwrap();
        let error = server
            .agent
            .monitor(&limits())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is accessible to users other than root"),
            "{error}"
        );
        sh(&format!("chmod 600 {}", login.display()));

        let (log, guard) = Log::catch();
        let watch = Watch::begin();
        for _ in 0..5 {
            assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Running));
        }
        let (clients, secrets) = watch.end();
        drop(guard);
        assert_eq!(log.text(), "", "it logs in");
        assert!(
            clients > 0,
            "the client must have been seen for its silence to mean something"
        );
        assert_eq!(secrets, 0);
        server.agent.stop(&limits()).await.unwrap();
    });
}

/// Reads the command line and environment of all processes, over and over.
struct Watch(
    std::sync::mpsc::Sender<()>,
    std::thread::JoinHandle<(u32, u32)>,
);

impl Watch {
    fn begin() -> Watch {
        let (stop, stopped) = std::sync::mpsc::channel();
        let watch = move || {
            let (mut clients, mut secrets) = (0, 0);
            while stopped.try_recv().is_err() {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let file = |name| fs::read(entry.path().join(name)).unwrap_or_default();
                    let text = [file("cmdline"), file("environ")].concat();
                    let text = String::from_utf8_lossy(&text);
                    clients += u32::from(text.contains("--execute=SELECT 1"));
                    secrets += u32::from(text.contains("geheim-4711"));
                }
            }
            (clients, secrets)
        };
        Watch(stop, std::thread::spawn(watch))
    }

    /// How often a client was seen, and how often the password.
    fn end(self) -> (u32, u32) {
        self.0.send(()).unwrap();
        self.1.join().unwrap()
    }
}

#[test]
fn a_server_of_another_hand_is_adopted_and_a_strangers_socket_is_refused() {
    alone(async {
        let server = Server::new("");
        let folder = server.folder.path().display();
        let _other = Process::start(&format!(
            "exec mariadbd --defaults-file={folder}/my.cnf --datadir={folder}/data --socket={folder}/run/sock --user=mysql"
        ));
        wait("the other", || server.at("run/pid").exists());
        let pid = server.pid();
        let (log, guard) = Log::catch();
        server.agent.start(&limits()).await.unwrap();
        drop(guard);
        assert!(
            log.text().contains(&format!("(pid {pid}); it is adopted")),
            "{}",
            log.text()
        );
        assert_eq!(
            (server.pid(), server.agent.monitor(&limits()).await),
            (pid, Ok(Status::Running))
        );

        let stranger = Server::new("");
        let args = ServerArguments {
            defaults: Some(stranger.at("my.cnf")),
            datadir: Some(stranger.at("data")),
            socket: Some(server.at("run/sock")),
            user: None,
        };
        let agent = Mysqld::new(args, stranger.at("login.cnf"));
        let error = agent.start(&limits()).await.unwrap_err().to_string();
        let wanted = format!("is in use by another process, pid {pid} in {folder}/data");
        assert!(error.contains(&wanted), "{error}");
        agent.stop(&limits()).await.unwrap();
        assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Running));
        server.agent.stop(&limits()).await.unwrap();
        assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Stopped));
    });
}

#[test]
fn a_start_that_fails_says_why_in_the_servers_words() {
    alone(async {
        let server = Server::new("innodb_data_file_path=ibdata1:1K\n");
        let error = server.agent.start(&limits()).await.unwrap_err();
        let AgentError::Failed(text) = error else {
            panic!("{error}")
        };
        assert!(
            text.contains("ended during its start (exit status: 1)"),
            "{text}"
        );
        assert!(
            text.contains("[ERROR]") && text.contains("ibdata1"),
            "{text}"
        );
        server.agent.stop(&limits()).await.unwrap();

        configuration(server.folder.path(), "no_such_option=1\n");
        let text = server.agent.start(&limits()).await.unwrap_err().to_string();
        assert!(
            text.contains("unknown variable 'no_such_option=1'"),
            "{text}"
        );
        fs::remove_file(server.at("my.cnf")).unwrap();
        assert_eq!(server.again().monitor(&limits()).await, Ok(Status::Stopped));
        let text = server
            .again()
            .start(&limits())
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("there is no defaults file"), "{text}");
    });
}

#[test]
fn a_full_disk_is_no_reason_to_move_and_a_start_on_one_says_so() {
    alone(async {
        let server = Server::new("");
        let disk = Disk::new(&server.folder, "db", 200, "mkfs.ext4 -q -F -m 0");
        let data = server.at("data");
        sh(&format!("mv {0} {0}.away && mkdir {0}", data.display()));
        let mount = filesystem(&[path(&disk.device), path(&data), "ext4"]);
        mount.start(&limits()).await.unwrap();
        sh(&format!(
            "cp -a {0}.away/. {0} && chown mysql: {0}",
            data.display()
        ));
        server.agent.start(&limits()).await.unwrap();
        server.query(
            "create database d; create table d.t (n int) engine=innodb; insert into d.t values (7)",
        );
        sh(&format!(
            "dd if=/dev/zero of={}/big bs=1M 2>/dev/null || true",
            data.display()
        ));
        assert_eq!(mount.monitor(&limits()).await, Ok(Status::Running));
        assert_eq!(server.agent.monitor(&limits()).await, Ok(Status::Running));
        assert_eq!(server.query("select n from d.t").trim(), "7");
        server.agent.stop(&limits()).await.unwrap();

        sh(&format!(
            "dd if=/dev/zero of={}/big2 bs=1k 2>/dev/null || true",
            data.display()
        ));
        let text = server.agent.start(&limits()).await.unwrap_err().to_string();
        assert!(text.contains("[ERROR]"), "{text}");
        sh(&format!("rm {}/big*", data.display()));
        server.agent.start(&limits()).await.unwrap();
        assert_eq!(server.query("select n from d.t").trim(), "7");
        server.agent.stop(&limits()).await.unwrap();
        mount.stop(&limits()).await.unwrap();
    });
}
