//! `respawn` children: started with us, started again when they end, ended with us.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::unistd::User;
use tokio::process::{Child, Command};

use crate::config::Respawn;

/// A child that ends with this wants no more: heartbeat's convention.
const NO_MORE: i32 = 100;
/// A child that ends sooner than this ended at once.
const AT_ONCE: Duration = Duration::from_secs(30);
/// After so many ends at once in a row it is given up.
const TOO_OFTEN: u32 = 10;
/// The pause before it is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps one child running until the task is dropped; the child is killed with it.
pub async fn keep_running(respawn: Respawn) {
    let mut at_once = 0;
    loop {
        let began = Instant::now();
        let name = respawn.command.join(" ");
        match start(&respawn) {
            Ok(mut child) => {
                tracing::info!("started {name} as {}", respawn.user);
                if wants_no_more(&mut child, &name, respawn.failfast).await {
                    return;
                }
            }
            Err(text) => tracing::error!("cannot start {name}: {text}"),
        }
        at_once = if began.elapsed() < AT_ONCE {
            at_once + 1
        } else {
            0
        };
        if at_once > TOO_OFTEN {
            tracing::error!(
                "{name} ended {at_once} times in a row within {AT_ONCE:?}: it is given up; mend it and restart had"
            );
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn wants_no_more(child: &mut Child, name: &str, failfast: bool) -> bool {
    let status = match child.wait().await {
        Ok(status) => status,
        Err(e) => {
            tracing::error!("cannot wait for {name}: {e}");
            return true;
        }
    };
    match (status.code(), status.signal()) {
        (Some(NO_MORE), _) => {
            tracing::info!("{name} ended with {NO_MORE}: it wants no more");
            return true;
        }
        (Some(code), _) => {
            tracing::warn!("{name} ended with exit code {code}; it is started again");
        }
        (None, signal) => tracing::warn!(
            "{name} was ended by signal {}; it is started again",
            signal.unwrap_or(0)
        ),
    }
    if failfast {
        tracing::error!(
            "{name} is marked failfast, which would reboot this node; had does not do that yet"
        );
    }
    false
}

fn start(respawn: &Respawn) -> Result<Child, String> {
    let user = User::from_name(&respawn.user)
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("there is no user {}", respawn.user))?;
    let (program, args) = respawn.command.split_first().ok_or("no command is named")?;
    Command::new(program)
        .args(args)
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())
}
