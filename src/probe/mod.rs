//! Probes that tell whether a node (`check` of ha.cf) or a resource (`monitor` of ha.cf) is well.
//!
//! Each module is one kind of probe. A result is a short text in both cases: what was found, or what is wrong.

mod disk;
mod dns;
mod exec;
mod http;
mod https;
mod lag;
mod link;
mod mysql;
mod postgres;
mod process;
mod redis;
mod tcp;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use self::exec::ProgramProbe;
use self::http::WebProbe;
use self::https::SecureWebProbe;
use self::link::InterfaceProbe;
use self::mysql::DatabaseProbe;
use self::postgres::PostgresProbe;
use self::process::ProcessProbe;
use crate::agent::Limits;
use crate::agent::builtin::drbd::DrbdFitness;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::builtin::mysqld::LOGIN;
use crate::agent::exec::blocking::run_apart;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::model::health::{DiskProbe, DnsProbe, Probe, RedisProbe};
use crate::sys::netlink::Netlink;

/// The result of a probe that reached its deadline.
const NO_ANSWER: &str = "no answer in time";
use crate::text::Mistake;

/// A configured probe, with what it remembers between its runs.
pub struct ActiveProbe(Kind);

enum Kind {
    Exec(ProgramProbe),
    Tcp(std::net::SocketAddr),
    Http(WebProbe),
    Https(SecureWebProbe),
    Process(ProcessProbe),
    Link(InterfaceProbe),
    Dns(DnsProbe),
    Disk(DiskProbe),
    Redis(RedisProbe),
    Drbd(DrbdFitness),
    Mysql(DatabaseProbe),
    Postgres(PostgresProbe),
}

/// Checks that a probe can work on this node, before it is ever run.
///
/// # Errors
/// The mistake, for an administrator.
pub fn validate(probe: &Probe) -> Result<(), Mistake> {
    match probe {
        Probe::Exec(path, _) => safe_path::check(path),
        Probe::Mysql(probe) => mysql::validate(probe),
        Probe::Postgres(_) => postgres::validate(),
        Probe::Redis(probe) => redis::validate(probe),
        Probe::Http(probe) => probe.tls.as_ref().map_or(Ok(()), https::validate),
        Probe::Tcp(_)
        | Probe::Dns(_)
        | Probe::Process(_)
        | Probe::Link(_)
        | Probe::Disk(_)
        | Probe::Drbd(_) => Ok(()),
    }
}

impl ActiveProbe {
    /// The probe as configured; it has not run yet.
    pub fn new(
        probe: &Probe,
        env: &Arc<ScriptEnv>,
        netlink: &Netlink,
        peers: &Arc<dyn Peers>,
    ) -> Self {
        ActiveProbe(match probe {
            Probe::Exec(path, args) => {
                Kind::Exec(ProgramProbe::new(path.clone(), args.clone(), env.clone()))
            }
            Probe::Tcp(server) => Kind::Tcp(*server),
            Probe::Http(probe) => match &probe.tls {
                None => Kind::Http(WebProbe(probe.clone())),
                Some(wishes) => Kind::Https(SecureWebProbe::new(probe, wishes)),
            },
            Probe::Process(name) => Kind::Process(ProcessProbe::new(name)),
            Probe::Dns(probe) => Kind::Dns(probe.clone()),
            Probe::Redis(probe) => Kind::Redis(probe.clone()),
            Probe::Disk(probe) => Kind::Disk(probe.clone()),
            Probe::Drbd(resource) => Kind::Drbd(DrbdFitness::new(resource, peers)),
            Probe::Link(name) => Kind::Link(InterfaceProbe::new(name, netlink.clone())),
            Probe::Postgres(probe) => {
                let login = env.config_dir.join(postgres::LOGIN);
                Kind::Postgres(PostgresProbe::new(probe, login))
            }
            Probe::Mysql(probe) => {
                Kind::Mysql(DatabaseProbe::new(probe, env.config_dir.join(LOGIN)))
            }
        })
    }

    /// Runs once: what was found, or what is wrong. No result by the deadline counts as not well. A probe that reads files
    /// or starts programs may block, so it runs in a thread of its own. One that hangs there does not return: the caller
    /// knows when it takes too long, and must not start another meanwhile.
    pub async fn run(self: &Arc<Self>, limits: &Limits) -> Result<String, String> {
        if matches!(
            self.0,
            Kind::Tcp(_) | Kind::Http(_) | Kind::Dns(_) | Kind::Link(_)
        ) {
            return self.run_here(limits).await;
        }
        let (probe, own_limits) = (Arc::clone(self), limits.clone());
        let run = move || async move { probe.run_here(&own_limits).await };
        let done = run_apart(&limits.patient(), "the probe", run).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// How far behind its source the replica was at the last run, if the probe asks for that and the lag is known.
    pub fn lag(&self) -> Option<Duration> {
        match &self.0 {
            Kind::Mysql(mysql) => mysql.lag.get(),
            Kind::Postgres(postgres) => postgres.lag.get(),
            _ => None,
        }
    }

    async fn run_here(&self, limits: &Limits) -> Result<String, String> {
        let run = async {
            match &self.0 {
                Kind::Exec(exec) => exec.run(limits).await,
                Kind::Mysql(mysql) => mysql.run(limits).await,
                Kind::Postgres(postgres) => postgres.run(limits).await,
                Kind::Tcp(server) => tcp::run(*server).await,
                Kind::Http(http) => http.run().await,
                Kind::Https(https) => https.run().await,
                Kind::Process(process) => process.run(),
                Kind::Link(link) => link.run().await,
                Kind::Dns(probe) => dns::run(probe).await,
                Kind::Disk(probe) => disk::run(probe),
                Kind::Redis(probe) => redis::run(probe).await,
                Kind::Drbd(fitness) => fitness.run(limits).await,
            }
        };
        // These stop their programs at the deadline by themselves, and then report what they printed.
        if matches!(
            self.0,
            Kind::Exec(_) | Kind::Mysql(_) | Kind::Postgres(_) | Kind::Drbd(_)
        ) {
            return run.await;
        }
        let late = |_: tokio::time::error::Elapsed| Err(NO_ANSWER.to_owned());
        timeout_at(limits.until, run).await.unwrap_or_else(late)
    }

    /// Whether [`ActiveProbe::changed`] ever returns, after a first run.
    pub fn notices_changes(&self) -> bool {
        matches!(self.0, Kind::Process(_) | Kind::Link(_))
    }

    /// Waits for an event after which a run may have another result. Never returns if the probe cannot notice any.
    pub async fn changed(&self) {
        match &self.0 {
            Kind::Process(process) => process.ended().await,
            Kind::Link(link) => link.changed().await,
            Kind::Exec(_)
            | Kind::Tcp(_)
            | Kind::Http(_)
            | Kind::Https(_)
            | Kind::Dns(_)
            | Kind::Disk(_)
            | Kind::Redis(_)
            | Kind::Mysql(_)
            | Kind::Postgres(_)
            | Kind::Drbd(_) => std::future::pending::<()>().await,
        }
    }
}

#[cfg(test)]
pub(super) fn within(seconds: u64) -> Limits {
    Limits::within(
        std::time::Duration::from_secs(seconds),
        &crate::agent::Abort::new(),
    )
}
