//! `had-web`: shows the cluster by HTTP. It reads the control socket and commands nothing; the daemon itself speaks no HTTP.
//!
//! ```text
//! poll: one thread follows the daemon  --watch channel-->  serve: connections, their limits and TLS
//!                                                             guard: who may ask
//!                                                               routes: page, metrics, owner, health, JSON
//!                                                               events: the same for those who stay
//! ```
//!
//! However many clients there are, the daemon has one.

mod args;
mod events;
mod guard;
mod metrics;
mod policy;
mod poll;
mod private_file;
mod routes;
mod serve;
mod tls;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use had::control::api::SOCKET;
use had::text::printable_lines;
use tokio::net::TcpListener;

use args::Args;
use guard::Guard;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say(&format!("error: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line for the log.
fn say(text: &str) {
    eprintln!("{}", printable_lines(text));
}

/// Serves until something fails; the error is for the user.
fn run(args: Args) -> Result<(), String> {
    let acceptor = match (&args.tls_certificate, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
        _ => None,
    };
    let local = args.listen.ip().is_loopback();
    if !local && acceptor.is_none() && !args.plain_http_anywhere {
        return Err(format!(
            "other machines reach {}, and plain HTTP can be read on the way: give --tls-certificate and --tls-key, or --plain-http-anywhere",
            args.listen
        ));
    }
    let token = args.token_file.as_deref().map(private_file::read_token);
    let guard = Guard::new(token.transpose()?, local);
    serve::raise_file_limit();
    // One thread: however many clients come, they take no second processor from the cluster.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let views = poll::follow(socket_path(args.socket))?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let at = listener.local_addr().unwrap_or(args.listen);
        say(&format!("had-web listens on {scheme}://{at}/"));
        serve::serve(listener, acceptor, routes::router(views, Arc::new(guard))).await;
        Ok(())
    })
}

/// The daemon's socket, as `hactl` finds it.
fn socket_path(option: Option<PathBuf>) -> PathBuf {
    let given = option.or_else(|| std::env::var_os("HAD_SOCKET").map(PathBuf::from));
    given.unwrap_or_else(|| PathBuf::from(SOCKET))
}
