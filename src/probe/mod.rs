//! Ways to look whether something is well: of a node (`check`), of a resource (`monitor`).
//!
//! Each look says what it saw in a few words, also when all is well. None needs a shell.

mod exec;
mod http;
mod link;
mod mysql;
mod process;
mod tcp;

use std::sync::Arc;

use tokio::time::timeout_at;

use self::exec::Exec;
use self::http::Http;
use self::link::LinkCheck;
use self::mysql::Mysql;
use self::process::Process;
use crate::agent::Limits;
use crate::agent::builtin::drbd::Fitness;
use crate::agent::builtin::drbd::fence::Peers;
use crate::agent::builtin::mysqld::LOGIN;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::model::health::Probe;
use crate::sys::netlink::Netlink;
use crate::text::Mistake;

/// One way to look, with what it remembers from look to look.
pub struct Check(Kind);

enum Kind {
    Exec(Exec),
    Tcp(std::net::SocketAddr),
    Http(Http),
    Process(Process),
    Link(LinkCheck),
    Drbd(Fitness),
    Mysql(Mysql),
}

/// What is wrong with a way to look on this node, before it is ever used.
///
/// # Errors
/// The mistake, for an administrator.
pub fn judge(probe: &Probe) -> Result<(), Mistake> {
    match probe {
        Probe::Exec(path, _) => safe_path::check(path),
        Probe::Mysql(probe) => mysql::judge(probe),
        Probe::Tcp(_) | Probe::Http(_) | Probe::Process(_) | Probe::Link(_) | Probe::Drbd(_) => {
            Ok(())
        }
    }
}

impl Check {
    /// As configured.
    pub fn new(
        probe: &Probe,
        env: &Arc<ScriptEnv>,
        netlink: &Netlink,
        peers: &Arc<dyn Peers>,
    ) -> Self {
        Check(match probe {
            Probe::Exec(path, args) => {
                Kind::Exec(Exec::new(path.clone(), args.clone(), env.clone()))
            }
            Probe::Tcp(server) => Kind::Tcp(*server),
            Probe::Http(probe) => Kind::Http(Http(probe.clone())),
            Probe::Process(name) => Kind::Process(Process::new(name)),
            Probe::Drbd(resource) => Kind::Drbd(Fitness::new(resource, peers)),
            Probe::Link(name) => Kind::Link(LinkCheck::new(name, netlink.clone())),
            Probe::Mysql(probe) => Kind::Mysql(Mysql::new(probe, env.config_dir.join(LOGIN))),
        })
    }

    /// Looks once. What is not known when its time is over is not well.
    pub async fn look(&self, limits: &Limits) -> Result<String, String> {
        let look = async {
            match &self.0 {
                Kind::Exec(exec) => exec.look(limits).await,
                Kind::Mysql(mysql) => mysql.look(limits).await,
                Kind::Tcp(server) => tcp::look(*server).await,
                Kind::Http(http) => http.look().await,
                Kind::Process(process) => process.look(),
                Kind::Link(link) => link.look().await,
                Kind::Drbd(fitness) => fitness.look(limits).await,
            }
        };
        // A program is ended at its deadline and has its say then.
        if matches!(self.0, Kind::Exec(_) | Kind::Mysql(_) | Kind::Drbd(_)) {
            return look.await;
        }
        let late = |_: tokio::time::error::Elapsed| Err("no answer in time".to_owned());
        timeout_at(limits.until, look).await.unwrap_or_else(late)
    }

    /// Whether [`Check::changed`] can tell of something once a look was taken.
    pub fn tells(&self) -> bool {
        matches!(self.0, Kind::Process(_) | Kind::Link(_))
    }

    /// Comes back when something happened after which a look may find something else; never where nothing tells.
    pub async fn changed(&self) {
        match &self.0 {
            Kind::Process(process) => process.ended().await,
            Kind::Link(link) => link.changed().await,
            Kind::Exec(_) | Kind::Tcp(_) | Kind::Http(_) | Kind::Mysql(_) | Kind::Drbd(_) => {
                std::future::pending::<()>().await;
            }
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
