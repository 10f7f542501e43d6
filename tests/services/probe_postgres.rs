//! The probe `postgres` with a real primary and a real replica.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use had::model::health::{DatabaseWishes, Probe, Replica};
use nix::sys::signal::Signal;

use crate::common::{Process, alone, folder, path, sh, wait, within};
use crate::probes::{active, own_network, run, until};

/// Runs a shell command as the account of the database, with its programs in the path.
fn as_postgres(command: &str) -> String {
    format!(
        "PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH; export PATH
         exec setpriv --reuid=postgres --regid=postgres --init-groups --reset-env sh -c \"PATH=$PATH; {command}\""
    )
}

fn socket(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

fn serve(folder: &Path, name: &str, port: u16) -> Process {
    let shown = path(folder);
    let server = Process::start(&as_postgres(&format!(
        "exec postgres -D {shown}/{name} -k {shown} -p {port} -h 127.0.0.1 -c fsync=off -c wal_receiver_status_interval=1 \
         -c wal_retrieve_retry_interval=100 -c shared_buffers=16MB 2>>{shown}/{name}.log"
    )));
    wait("postgres", || socket(folder, port).exists());
    server
}

fn postgres(socket: &Path, replica: Option<Replica>) -> Probe {
    let socket = Some(socket.to_owned());
    Probe::Postgres(DatabaseWishes { socket, replica })
}

fn sql(folder: &Path, port: u16, statement: &str) {
    let shown = path(folder);
    sh(&as_postgres(&format!(
        "psql -qX -h {shown} -p {port} -c '{statement}' postgres"
    )));
}

#[test]
fn a_primary_and_its_replica_are_known() {
    alone(async {
        own_network();
        let folder = folder();
        let folder = folder.path();
        sh(&format!("chown postgres: {}", path(folder)));
        let shown = path(folder);
        let primary_place = socket(folder, 5432);
        let plain = postgres(&primary_place, None);
        let nobody = run(&plain).await.unwrap_err();
        assert!(nobody.contains("No such file or directory"), "{nobody}");
        sh(&as_postgres(&format!(
            "initdb -A trust -D {shown}/primary >/dev/null"
        )));
        let mut primary = serve(folder, "primary", 5432);
        until(&plain, true).await;
        sh(&as_postgres(&format!(
            "pg_basebackup -R -c fast -h 127.0.0.1 -p 5432 -D {shown}/replica"
        )));
        let mut replica = serve(folder, "replica", 5433);
        let replica_place = socket(folder, 5433);
        let lag = postgres(
            &replica_place,
            Some(Replica::Within(Duration::from_secs(1))),
        );
        let intact = postgres(&replica_place, Some(Replica::Intact));
        assert_eq!(until(&lag, true).await, "0 s behind");
        assert_eq!(run(&plain).await.unwrap(), "it answers");
        let of_primary = postgres(&primary_place, Some(Replica::Intact));
        assert_eq!(
            run(&of_primary).await,
            Err("it is not a replica".to_owned())
        );
        let watching = active(&lag);
        watching.run(&within(10)).await.unwrap();
        assert_eq!(watching.lag(), Some(Duration::ZERO));
        // What arrives is not applied.
        sql(folder, 5433, "SELECT pg_wal_replay_pause()");
        let paused = until(&intact, false).await;
        assert_eq!(paused, "changes are not applied: the replay is paused");
        sql(folder, 5433, "SELECT pg_wal_replay_resume()");
        until(&lag, true).await;
        // It hangs, and then it is away.
        primary.signal(Signal::SIGSTOP);
        let hung = active(&plain).run(&within(1)).await;
        assert_eq!(hung, Err("no answer in time".to_owned()));
        primary.signal(Signal::SIGCONT);
        primary.signal(Signal::SIGQUIT);
        primary.ended_by();
        let away = until(&lag, false).await;
        watching.run(&within(10)).await.unwrap_err();
        assert_eq!(watching.lag(), None);
        assert_eq!(away, "no changes arrive from the other server");
        assert_eq!(run(&intact).await, Ok(away));
        replica.signal(Signal::SIGQUIT);
        replica.ended_by();
    });
}

#[test]
fn a_server_that_refuses_the_login_runs_and_a_login_file_helps() {
    alone(async {
        own_network();
        let folder = folder();
        let folder = folder.path();
        let shown = path(folder);
        sh(&format!(
            "chown postgres: {shown}; mount -t tmpfs none /etc/ha.d 2>/dev/null || {{ mkdir -p /etc/ha.d; mount -t tmpfs none /etc/ha.d; }}"
        ));
        sh(&as_postgres(&format!(
            "printf opensesame >{shown}/word; initdb -A scram-sha-256 --pwfile={shown}/word -D {shown}/primary >/dev/null"
        )));
        let mut server = serve(folder, "primary", 5432);
        let place = socket(folder, 5432);
        let plain = postgres(&place, None);
        let of_replica = postgres(&place, Some(Replica::Intact));
        let refused = until(&plain, true).await;
        assert!(refused.starts_with("it refuses queries ("), "{refused}");
        let unknown = run(&of_replica).await.unwrap_err();
        assert!(unknown.contains("password"), "{unknown}");
        let login = Path::new("/etc/ha.d/postgres.conf");
        fs::write(login, "[had]\nuser=postgres\npassword=opensesame\n").unwrap();
        sh("chmod 640 /etc/ha.d/postgres.conf");
        let open = run(&plain).await.unwrap_err();
        assert!(open.contains("mode 0640"), "{open}");
        sh("chmod 600 /etc/ha.d/postgres.conf");
        assert_eq!(run(&plain).await.unwrap(), "it answers");
        assert_eq!(
            run(&of_replica).await,
            Err("it is not a replica".to_owned())
        );
        server.signal(Signal::SIGQUIT);
        server.ended_by();
    });
}
