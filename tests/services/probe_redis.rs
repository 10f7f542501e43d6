//! The probe `redis` with a real master and a real replica.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use had::model::health::{Probe, RedisProbe, RedisRole};
use nix::sys::signal::Signal;

use crate::common::{Process, alone, folder, path, sh, wait, within};
use crate::probes::{active, own_network, run, until};

const MASTER: u16 = 6379;
const REPLICA: u16 = 6380;

/// A server with its data in this folder. `more` are its further arguments.
fn serve(folder: &Path, port: u16, more: &str) -> Process {
    let server = Process::start(&format!(
        "exec redis-server --port {port} --bind 127.0.0.1 --dir {} --save '' --repl-diskless-sync-delay 0 {more} >/dev/null",
        path(folder)
    ));
    wait("redis", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    server
}

fn redis(port: u16, role: Option<RedisRole>, link_up: bool, password: Option<PathBuf>) -> Probe {
    Probe::Redis(RedisProbe {
        server: SocketAddr::from(([127, 0, 0, 1], port)),
        given: true,
        role,
        link_up,
        password,
    })
}

fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    sh(&format!("umask 077; printf '{text}' >{}", path(&file)));
    file
}

#[test]
fn the_role_and_the_link_of_a_pair_are_known() {
    alone(async {
        own_network();
        let folder = folder();
        let master = serve(folder.path(), MASTER, "");
        let follows = format!("--replicaof 127.0.0.1 {MASTER}");
        let _replica = serve(folder.path(), REPLICA, &follows);
        let role = |port, role| redis(port, Some(role), false, None);
        let link = redis(REPLICA, Some(RedisRole::Replica), true, None);
        until(&link, true).await;
        let ok = |text: &str| Ok(text.to_owned());
        let bad = |text: &str| Err(text.to_owned());
        let connected = ok("it is a replica, connected to 127.0.0.1:6379");
        let plain = redis(MASTER, None, false, None);
        for (probe, wanted) in [
            (&plain, ok("it answers")),
            (&role(MASTER, RedisRole::Master), ok("it is a master")),
            (
                &role(MASTER, RedisRole::Replica),
                bad("it is a master, wanted a replica"),
            ),
            (
                &role(REPLICA, RedisRole::Master),
                bad("it is a replica, wanted a master"),
            ),
            (&link, connected),
            (
                &redis(MASTER, None, true, None),
                bad("it is a master and follows nobody"),
            ),
        ] {
            assert_eq!(run(probe).await, wanted, "{probe}");
        }
        // It answers no more, but the kernel still accepts connections for it.
        master.signal(Signal::SIGSTOP);
        let seen = active(&plain).run(&within(1)).await;
        assert_eq!(seen, bad("no answer in time"));
        drop(master);
        assert_eq!(run(&plain).await, bad("127.0.0.1:6379: Connection refused"));
        let lost = until(&link, false).await;
        let wanted = "it is not connected to its master 127.0.0.1:6379";
        assert!(lost.starts_with(wanted), "{lost}");
        let still = run(&role(REPLICA, RedisRole::Replica)).await;
        assert_eq!(
            still,
            ok("it is a replica, not connected to 127.0.0.1:6379")
        );
    });
}

#[test]
fn a_password_comes_from_a_file_that_only_root_can_read() {
    alone(async {
        own_network();
        let folder = folder();
        let _server = serve(folder.path(), MASTER, "--requirepass opensesame");
        let ask = |role, file: Option<&PathBuf>| redis(MASTER, role, false, file.cloned());
        let master = Some(RedisRole::Master);
        let good = secret(folder.path(), "good", "opensesame\n");
        assert_eq!(
            run(&ask(master, Some(&good))).await.unwrap(),
            "it is a master"
        );
        let wrong = secret(folder.path(), "wrong", "closesesame");
        // A server that wants another login runs. What it would tell stays unknown.
        let alive = run(&ask(None, None)).await.unwrap();
        assert!(alive.starts_with("it answers: NOAUTH"), "{alive}");
        let alive = run(&ask(None, Some(&wrong))).await.unwrap();
        assert!(alive.starts_with("it answers: WRONGPASS"), "{alive}");
        for refused in [ask(master, None), ask(master, Some(&wrong))] {
            let error = run(&refused).await.unwrap_err();
            assert!(
                error.contains("NOAUTH") || error.contains("WRONGPASS"),
                "{error}"
            );
            assert!(!error.contains("sesame"), "{error}");
        }
        sh(&format!("chmod 640 {}", path(&good)));
        let error = run(&ask(master, Some(&good))).await.unwrap_err();
        let open = "group or others can read or write it (mode 0640)";
        assert!(error.contains(open), "{error}");
        assert!(had::probe::validate(&ask(None, Some(&good))).is_err());
        fs::remove_file(&good).unwrap();
        sh(&format!("mkfifo -m 600 {}", path(&good)));
        let error = run(&ask(master, Some(&good))).await.unwrap_err();
        assert!(error.contains("it is not a regular file"), "{error}");
        let empty = secret(folder.path(), "empty", "\n");
        let error = run(&ask(master, Some(&empty))).await.unwrap_err();
        assert!(error.contains("no password in its first line"), "{error}");
    });
}
