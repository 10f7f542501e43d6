//! The daemon: the engine connected to the network, the agents and the clients.
//!
//! It has two halves. `heartbeat_thread` owns sockets, clock and engine; `receive`, `send` and `ping` belong to it.
//! [`daemon`] is the slow half: agents (`perform`), clients (`serve`), notifications, the log and the disk. The two talk
//! over the channels of `engine_handle`, and the heartbeat thread never waits for the slow half.
//!
//! Nothing blocks:
//!
//! * On the heartbeat thread no call may wait. It logs through the slow half, has sockets opened by another thread
//!   (`socket_opener`), and drops a sign of life that systemd does not take (`service_manager`).
//! * The loop of the slow half renews leases and answers clients, so it awaits no agent, disk or name service either. What
//!   may block runs in a thread of its own with a deadline ([`crate::agent::exec::blocking`]): agents, probes, hooks, the
//!   start of a child, and a configuration that is read again (`reload`). Only our own files in the run folder, which is
//!   in memory, are written here.
//! * A file that others own is opened with [`crate::sys::foreign_file`], which waits for no pipe.
//! * If the slow half stands still all the same, the heartbeat thread notices (`slow_half`): after a lease this node is
//!   silent, and a little later the process ends.

mod activity;
mod counters;
pub mod daemon;
mod drbd;
mod engine_handle;
mod fencing;
mod heartbeat_thread;
mod last_moves;
mod lateness;
mod links;
mod listeners;
mod logging;
mod needs;
mod node_fencing;
mod notify;
mod own_hardware;
mod peer_requests;
mod perform;
mod ping;
mod readiness;
mod receive;
mod recording_engine;
mod rejected;
mod relay;
mod reload;
mod respawn;
mod restart;
mod send;
mod serve;
mod service_manager;
mod signals;
mod slow_half;
mod socket_opener;
mod source_filter;
mod wait_for_interface;
mod watcher;
mod webhook;

use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use activity::Activity;
use daemon::{Daemon, DaemonEnd};
use heartbeat_thread::HeartbeatSetup;
use last_moves::KnownMoves;
use peer_requests::{PeerClient, PeerRequests};
use perform::Performer;
use reload::Reload;
use respawn::RespawnChildren;
use signals::Signals;
use slow_half::LastWords;

use crate::agent::builtin::drbd::fence::Peers;
use crate::assembly::assemble::{Assembled, assemble};
use crate::assembly::{Folders, own_name};
use crate::config::Config;
use crate::control::server::{ControlCall, ControlServer};
use crate::engine::PersistentState;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::identity::Identity;
use crate::store::journal::{Journal, JournalPlace};
use crate::store::lease::{LeaseFile, Leases};
use crate::store::life;
use crate::store::recording_writer::RecordingFeed;
use crate::store::state_file::StateFile;
use crate::sys::netlink::Netlink;
use crate::text::{Problems, count, mask_secrets, printable_lines};

/// Control requests that may wait for the daemon; the server refuses more as busy.
const CALLS_DEPTH: usize = 64;
/// The exit code after `hactl stop`, with which had.service does not start the daemon again.
const EXIT_STOPPED: u8 = 7;
/// The priority of `realtime on` without `rtprio`: the lowest real-time priority, above all ordinary processes.
const DEFAULT_PRIORITY: i32 = 1;

/// Runs the daemon and returns its exit code. Why it could not start goes to standard error.
pub fn main(folders: Folders) -> ExitCode {
    match run(folders) {
        Ok(DaemonEnd::InOrder) => ExitCode::SUCCESS,
        Ok(DaemonEnd::Stopped) => ExitCode::from(EXIT_STOPPED),
        Ok(DaemonEnd::Failed) => ExitCode::FAILURE,
        Err(text) => {
            let text = printable_lines(&mask_secrets(text.trim_end()));
            eprintln!("{text}\nhad did not start");
            ExitCode::FAILURE
        }
    }
}

/// Runs the daemon until it is asked to stop, or until it fails, which is logged.
///
/// # Errors
/// Why it could not start, for an administrator.
fn run(folders: Folders) -> Result<DaemonEnd, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(256 * 1024)
        .build()
        .map_err(|e| format!("cannot create the runtime: {e}"))?;
    let end = runtime.block_on(start_and_run(folders));
    // To drop it would wait for a thread that hangs on a dead disk.
    runtime.shutdown_timeout(daemon::DISK_CLOSE_TIMEOUT);
    end
}

async fn start_and_run(folders: Folders) -> Result<DaemonEnd, String> {
    let netlink = Netlink::new();
    let node = own_name();
    if !wait_for_interface::wait_for_interface(&folders, &node).await? {
        return Ok(DaemonEnd::InOrder);
    }
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
    let server = ControlServer::bind(&folders.run.join("had.sock")).map_err(|e| e.to_string())?;
    let (log, log_problems) = logging::start(&config.logging);
    let _last_lines = logging::FlushOnDrop(Arc::clone(&log));
    log_start(&cluster, &warnings);

    // What earlier lives of this daemon left behind.
    let opened = StateFile::open(&folders.state).map_err(|e| e.to_string())?;
    for text in log_problems.iter().chain(&opened.warnings) {
        tracing::warn!("{text}");
    }
    let lease_file = open_lease_file(&folders);
    let leases = load_leases(lease_file.as_ref());
    let held_before = leases.as_ref().map(|l| l.keys().cloned().collect());
    let mut kept = opened.kept;
    kept.leases = leases.unwrap_or_default();
    kept.identity = begin_life(&folders);
    let life = (folders.run.clone(), kept.identity.instance);
    let journal = open_journal(&folders);

    // The heartbeat thread.
    let signals = Signals::listen().map_err(|e| format!("cannot listen to signals: {e}"))?;
    let (recording_writer, feed) = daemon::start_recording(&folders.state, config.record);
    let setup = heartbeat_setup(&config, cluster.clone(), kept, opened.uuid, feed);
    let last_words = LastWords::start(Arc::clone(&log))?;
    let (engine, outputs) = heartbeat_thread::start(setup, last_words)?;
    peer_client.connect(&engine);

    // The slow half.
    let (saver, states) = watch::channel((0, PersistentState::default()));
    let (save_failed, not_saved) = watch::channel(None);
    tokio::spawn(daemon::keep_saving(
        Arc::new(opened.file),
        states,
        save_failed,
        engine.clone(),
        life,
    ));
    tokio::spawn(rejected::report_rejected(engine.clone()));
    let (status_changed, status_changes) = watch::channel(());
    let (calls_in, calls) = mpsc::channel(CALLS_DEPTH);
    tokio::spawn(serve_clients(server, calls_in, status_changes));
    let moves = KnownMoves::start(&folders.state, config.node.clone());
    let respawn = RespawnChildren::start(&config.respawn);
    service_manager::notify_ready();
    let looker = readiness::Looker::new(&folders, &node, &netlink, peers);
    let performer = Performer::new(
        groups,
        watch_plan,
        lease_file,
        held_before,
        perform::min_address_lifetime(config.lease, &cluster.timing),
        looker,
        engine.clone(),
    );
    let (reload, reloads) = Reload::new();
    let fencer = node_fencing::NodeFencer::new(&config.node, &config.fence_devices, engine.clone());
    let daemon = Daemon {
        fencer,
        folders,
        config,
        cluster,
        engine,
        performer,
        notifier: notify::Notifier::new(hooks),
        peer_requests: PeerRequests::new(node, peer_client),
        respawn,
        activity: Activity::default(),
        moves,
        netlink,
        journal,
        log,
        recording_writer,
        waiting: serve::WaitingClients::default(),
        saver,
        not_saved,
        status_changed,
        reload,
        leaving: false,
    };
    let end = daemon.run(outputs, calls, orders, reloads, signals).await;
    log_end(end);
    Ok(end)
}

fn log_end(end: DaemonEnd) {
    if end == DaemonEnd::Failed {
        tracing::error!(
            "the heartbeat thread has failed; the daemon exits. Resources keep running, and the daemon finds them when it starts again"
        );
    } else {
        tracing::info!("had ends");
    }
}

fn heartbeat_setup(
    config: &Config,
    cluster: Cluster,
    kept: PersistentState,
    stored_uuid: [u8; 16],
    feed: Option<RecordingFeed>,
) -> HeartbeatSetup {
    let uuid = if config.uuid_from_name {
        uuid_from_name(&cluster.me)
    } else {
        stored_uuid
    };
    let priority = config.rtprio.unwrap_or(DEFAULT_PRIORITY);
    HeartbeatSetup {
        cluster,
        kept,
        media: config.media.clone(),
        keys: config.keys.clone(),
        cluster_name: config.cluster_name.clone(),
        uuid,
        hopfudge: config.hopfudge,
        priority: config.realtime.then_some(priority),
        log_bad_packets: config.log_badpack,
        feed,
    }
}

/// The first line of the log, and the warnings about the configuration.
fn log_start(cluster: &Cluster, warnings: &Problems) {
    tracing::info!(
        "had {} starts on {}: {}, {}",
        env!("CARGO_PKG_VERSION"),
        cluster.me,
        cluster.members_in_words(),
        count(cluster.groups.len(), "group")
    );
    if !warnings.is_empty() {
        tracing::warn!("{}", warnings.to_string().trim_end());
    }
}

async fn serve_clients(
    server: ControlServer,
    calls: mpsc::Sender<ControlCall>,
    status_changes: watch::Receiver<()>,
) {
    if let Err(e) = server.serve(calls, status_changes).await {
        tracing::error!(
            "the control socket failed: {e}; hactl cannot reach this daemon until had is restarted. The cluster is not affected."
        );
    }
}

/// A UUID made from a node's name (`uuidfrom nodename`): it survives the loss of the disk.
fn uuid_from_name(node: &crate::model::NodeName) -> [u8; 16] {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(node.as_str());
    digest.first_chunk().copied().unwrap_or([1; 16])
}

fn open_lease_file(folders: &Folders) -> Option<LeaseFile> {
    LeaseFile::new(&folders.run)
        .map_err(|e| {
            tracing::warn!(
                "cannot keep leases in {}: {e}; after a restart, the daemon stops the groups that it finds running",
                folders.run.display()
            );
        })
        .ok()
}

/// The leases of the last daemon of this boot; none when they are not known, which is logged.
fn load_leases(file: Option<&LeaseFile>) -> Option<Leases> {
    file?.load().map_err(|why| tracing::warn!("{why}")).ok()
}

/// Without an instance the peers cannot tell this machine from another one with its name.
fn begin_life(folders: &Folders) -> Identity {
    life::begin_life(&folders.run).unwrap_or_else(|e| {
        tracing::warn!(
            "cannot draw and save an instance in {}: {e}; the other nodes cannot tell this machine from a second one with its name",
            folders.run.display()
        );
        Identity::default()
    })
}

fn open_journal(folders: &Folders) -> Option<Journal> {
    let log = |text: String| daemon::log_line(Level::Warning, &text);
    // As long as the daemon lives, this is its own program, even when an upgrade has replaced the file.
    let place = JournalPlace::ProcessOf("/proc/self/exe".into());
    Journal::open(folders.state.join("journal"), place, log)
        .map_err(|e| {
            tracing::warn!("there is no journal: {e}; hactl why and history have no entries");
        })
        .ok()
}
