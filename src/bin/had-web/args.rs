//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

const PATHS: &str = "Paths:
  /                    a page for people: the cluster, what needs attention, and why; it follows the cluster by itself
  /metrics             for Prometheus, in the format of OpenMetrics
  /groups/GROUP/owner  200 where this node has the group online, otherwise 503: for the health check of a load balancer
  /healthz             200 while the daemon answers, otherwise 503
  /api/v1/status       what `hactl status --json` prints
  /api/v1/history      the newest decisions of this node as JSON, oldest first
  /api/v1/schema       the form of both, as JSON Schema
  /events              both as server-sent events, whenever something changes

With --token-file a client must send `Authorization: Bearer TOKEN`. The page asks its user for the token. Only
/healthz and /groups/GROUP/owner are open to everybody, because load balancers cannot send one.
Nothing can be commanded here. Manual: had-web(8)";

/// Show the cluster of the had daemon on this machine by HTTP: metrics, a page, health checks for load balancers
#[derive(Parser)]
#[command(name = "had-web", version, after_help = PATHS, max_term_width = 100)]
pub struct Args {
    /// Address and port to listen on. One that other machines reach needs TLS or --plain-http-anywhere
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9694")]
    pub listen: SocketAddr,
    /// Control socket of the daemon [default: $HAD_SOCKET, or /run/had/had.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Speak HTTPS with this certificate: a PEM file, with the chain below it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The key of the certificate: a PEM file that others cannot read
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Ask every client for the token in this file, which others cannot read
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Speak plain HTTP on an address that other machines reach: everybody between can read what is sent
    #[arg(long)]
    pub plain_http_anywhere: bool,
}
