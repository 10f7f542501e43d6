//! The daemon: engine and world put together.
//!
//! Two halves. `heartbeat_thread` owns sockets, clock and engine, with `receive` and `send` at its
//! sides. [`daemon`] is the slow half: agents (`perform`), clients (`serve`), the log, the disk. They talk over
//! channels; the heartbeat thread never waits for the slow half.

mod counters;
pub mod daemon;
mod drbd;
mod fencing;
mod heartbeat_thread;
mod lateness;
mod links;
mod listeners;
mod logging;
mod notify;
mod peer_requests;
mod perform;
mod receive;
mod recording_engine;
mod respawn;
mod send;
mod serve;
mod signals;
mod watcher;

use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use daemon::Daemon;
use heartbeat_thread::HeartbeatSetup;
use peer_requests::{PeerClient, PeerRequests};
use perform::Performer;
use signals::Signals;

use crate::agent::builtin::drbd::fence::Peers;
use crate::assembly::assemble::{Assembled, assemble};
use crate::assembly::{Folders, own_name};
use crate::control::server::{Call, Server};
use crate::engine::PersistentState;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::store::journal::Journal;
use crate::store::lease::{LeaseFile, Leases};
use crate::store::state_file::StateFile;
use crate::sys::netlink::Netlink;
use crate::text::Problems;

/// Control requests that wait for the daemon; more are refused by the server as busy.
const CALLS_DEPTH: usize = 64;
/// The priority that `realtime on` asks for without `rtprio`: low among the real-time ones, above all others.
const USUAL_PRIORITY: i32 = 1;

/// Runs the daemon, with its exit code; why it could not start goes to standard error.
pub fn main(folders: Folders) -> ExitCode {
    match run(folders) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("{}\nhad did not start", text.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Runs the daemon until it is told to end (true), or until it can no longer go on, which the log says (false).
///
/// # Errors
/// Why it could not start; the text is for the administrator.
fn run(folders: Folders) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(256 * 1024)
        .build()
        .map_err(|e| format!("cannot make the runtime: {e}"))?;
    runtime.block_on(begin(folders))
}

async fn begin(folders: Folders) -> Result<bool, String> {
    let netlink = Netlink::new();
    let node = own_name();
    let (peer_client, orders) = PeerClient::new();
    let peers: Arc<dyn Peers> = Arc::new(peer_client.clone());
    let Assembled {
        config,
        cluster,
        groups,
        watch_plan,
        hooks,
        warnings,
    } = assemble(&folders, &node, &netlink, &peers)
        .await
        .map_err(|problems| problems.page("had does not start"))?;
    let server = Server::bind(&folders.run.join("had.sock")).map_err(|e| e.to_string())?;
    let (log, troubles) = logging::begin(&config.logging);
    let _last_lines = logging::Ending(Arc::clone(&log));
    greet(&cluster, &warnings);
    let opened = StateFile::open(&folders.state).map_err(|e| e.to_string())?;
    for text in troubles.iter().chain(&opened.warnings) {
        tracing::warn!("{text}");
    }
    let leases = lease_file(&folders);
    let mut kept = opened.kept;
    let known = known_leases(leases.as_ref());
    let held_before = known.as_ref().map(|l| l.keys().cloned().collect());
    kept.leases = known.unwrap_or_default();
    let journal = open_journal(&folders);
    let signals = Signals::listen().map_err(|e| format!("cannot listen to signals: {e}"))?;
    let (recording_writer, feed) = daemon::record(&folders.state, config.record);
    let (engine, outputs) = heartbeat_thread::start(HeartbeatSetup {
        cluster: cluster.clone(),
        kept,
        media: config.media.clone(),
        keys: config.keys.clone(),
        cluster_name: config.cluster_name.clone(),
        uuid: if config.uuid_from_name {
            uuid_of(&node)
        } else {
            opened.uuid
        },
        hopfudge: config.hopfudge,
        priority: config
            .realtime
            .then(|| config.rtprio.unwrap_or(USUAL_PRIORITY)),
        tell_bad_packets: config.log_badpack,
        feed,
    })?;
    peer_client.connect(&engine);
    let (saver, wanted) = watch::channel((0, PersistentState::default()));
    tokio::spawn(daemon::save_always(
        Arc::new(opened.file),
        wanted,
        engine.clone(),
    ));
    let (changed, changes) = watch::channel(());
    let (calls_in, calls) = mpsc::channel(CALLS_DEPTH);
    tokio::spawn(serve_clients(server, calls_in, changes));
    for child in config.respawn.clone() {
        tokio::spawn(respawn::keep_running(child));
    }
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    let performer = Performer::new(
        groups,
        watch_plan,
        netlink.clone(),
        leases,
        held_before,
        perform::min_kernel_ttl(config.lease, &cluster.timing),
        engine.clone(),
    );
    let daemon = Daemon {
        folders,
        config,
        cluster,
        engine,
        performer,
        notifier: notify::Notifier::new(hooks),
        peer_requests: PeerRequests::new(node, peer_client),
        netlink,
        journal,
        log,
        recording_writer,
        waiting: serve::Waiting::default(),
        saver,
        changed,
        leaving: false,
    };
    let told = daemon.run(outputs, calls, orders, signals).await;
    if told {
        tracing::info!("had ends");
    } else {
        tracing::error!(
            "the heartbeat thread has ended by itself; a new daemon will find what runs"
        );
    }
    Ok(told)
}

/// The first words in the log.
fn greet(cluster: &Cluster, warnings: &Problems) {
    tracing::info!(
        "had {} starts on {}, {} nodes, {} groups",
        env!("CARGO_PKG_VERSION"),
        cluster.me,
        cluster.nodes.len(),
        cluster.groups.len()
    );
    if !warnings.is_empty() {
        tracing::warn!("{}", warnings.to_string().trim_end());
    }
}

async fn serve_clients(server: Server, calls: mpsc::Sender<Call>, changes: watch::Receiver<()>) {
    if let Err(e) = server.serve(calls, changes).await {
        tracing::error!(
            "hactl cannot reach this daemon any more: {e}; the cluster runs on, restart had when that suits"
        );
    }
}

/// A UUID made from a node's name (`uuidfrom nodename`): the same after every loss of the disk.
fn uuid_of(node: &crate::model::NodeName) -> [u8; 16] {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(node.as_str());
    digest.first_chunk().copied().unwrap_or([1; 16])
}

fn lease_file(folders: &Folders) -> Option<LeaseFile> {
    LeaseFile::new(&folders.run)
        .map_err(|e| {
            tracing::warn!(
                "cannot keep leases in {}: {e}; a restart will stop what it finds running",
                folders.run.display()
            );
        })
        .ok()
}

/// What the last daemon of this boot held; none when that is not known, which is said.
fn known_leases(file: Option<&LeaseFile>) -> Option<Leases> {
    file?.load().map_err(|why| tracing::warn!("{why}")).ok()
}

fn open_journal(folders: &Folders) -> Option<Journal> {
    let say = |text: String| daemon::note(Level::Warning, &text);
    Journal::open(folders.state.join("journal"), say)
        .map_err(|e| tracing::warn!("there will be no journal: {e}"))
        .ok()
}
