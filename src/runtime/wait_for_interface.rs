//! Waits at the start for the first interface that heartbeats can use: at boot, cards and bonds may appear late. A node that
//! can hear nobody takes no part, so nothing else is started until then.

use std::time::Duration;

use nix::net::if_::if_nametoindex;
use tokio::sync::{mpsc, watch};

use super::service_manager::{self, ServiceWatchdog};
use super::signals::{Signal, Signals};
use crate::assembly::Folders;
use crate::config::{self, HostFacts};
use crate::control::api::{Refusal, RefusalCode};
use crate::control::server::{ControlCall, ControlServer};
use crate::model::NodeName;
use crate::sys::clock;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Waits until one of the interfaces of the media exists; false if the daemon is to end instead. Does not wait if the
/// configuration has errors.
///
/// # Errors
/// The daemon cannot start, for an administrator.
pub(super) async fn wait_for_interface(folders: &Folders, node: &NodeName) -> Result<bool, String> {
    let Some(reason) = reason_to_wait(folders, node) else {
        return Ok(true);
    };
    let server = ControlServer::bind(&folders.run.join("had.sock")).map_err(|e| e.to_string())?;
    let mut signals = Signals::listen().map_err(|e| format!("cannot listen to signals: {e}"))?;
    eprintln!("warning: {reason}");
    let (calls_in, mut calls) = mpsc::channel(1);
    let (_unchanged, changes) = watch::channel(());
    let serving = tokio::spawn(server.serve(calls_in, changes));
    // Otherwise a service manager gives the start up.
    service_manager::notify_ready();
    let mut watchdog = ServiceWatchdog::from_environment();
    let go_on = loop {
        tokio::select! {
            Some(call) = calls.recv() => refuse(call, &reason),
            signal = signals.next() => if signal == Signal::Leave {
                break false;
            },
            () = tokio::time::sleep(LOOK_EVERY) => {
                if let Some(watchdog) = &mut watchdog {
                    // Nothing runs yet that it could disturb, so there is nothing to say.
                    drop(watchdog.notify_if_due(clock::now()));
                }
            }
        }
        if reason_to_wait(folders, node).is_none() {
            break true;
        }
    };
    drop(calls);
    // The socket is removed with the server.
    drop(serving.await);
    Ok(go_on)
}

/// Why the daemon must wait: no interface of the media exists.
fn reason_to_wait(folders: &Folders, node: &NodeName) -> Option<String> {
    let machine = HostFacts {
        interfaces: None,
        ..HostFacts::here()
    };
    let loaded = config::load_on(&machine, &folders.config, Some(node)).ok()?;
    let mut names: Vec<&str> = Vec::new();
    for medium in &loaded.config.media {
        if if_nametoindex(medium.interface.as_str()).is_ok() {
            return None;
        }
        if !names.contains(&medium.interface.as_str()) {
            names.push(&medium.interface);
        }
    }
    let what = match names.as_slice() {
        [] => return None,
        [one] => format!("there is no interface {one}"),
        several => format!("there is none of the interfaces {}", several.join(", ")),
    };
    Some(format!(
        "{what}: had waits for it and takes no part in the cluster until then"
    ))
}

fn refuse(call: ControlCall, reason: &str) {
    // The client may have gone away.
    drop(
        call.reply
            .send(Err(Refusal::new(RefusalCode::Busy, reason))),
    );
}
