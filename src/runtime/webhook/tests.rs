use std::fmt::{Debug, Write as _};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;

const QUICK: Patience = Patience {
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_millis(20),
    retry_for: Duration::from_secs(60),
};

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Words<'a>(&'a mut String);
        impl tracing::field::Visit for Words<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn Debug) {
                writeln!(self.0, "{value:?}").unwrap();
            }
        }
        event.record(&mut Words(&mut self.0.lock().unwrap()));
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = self.0.lock().unwrap();
        text.lines()
            .filter(|l| l.starts_with("notify: "))
            .map(str::to_owned)
            .collect()
    }
}

fn catch() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    (log, tracing::subscriber::set_default(subscriber))
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn to(listener: &TcpListener) -> Webhook {
    Webhook {
        secure: false,
        host: "localhost".to_owned(),
        port: listener.local_addr().unwrap().port(),
        path: "/services/path-with-a-secret".to_owned(),
        secret: None,
        ca: None,
        timeout: Duration::from_secs(60),
    }
}

/// Takes one request whole, and answers with this, if anything.
async fn serve(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    loop {
        stream.read_buf(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request).into_owned();
        if text.ends_with('}') {
            stream.write_all(answer.as_bytes()).await.unwrap();
            return text;
        }
    }
}

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BODY: &str = "{\"name\":\"db\"}";

/// A daemon that goes on.
fn goes_on() -> (watch::Sender<bool>, watch::Receiver<bool>) {
    watch::channel(false)
}

fn secret_file(folder: &Path, text: &str) -> std::path::PathBuf {
    let file = folder.join("secret");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file
}

#[tokio::test]
async fn the_signature_is_that_of_the_time_and_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let listener = listen().await;
    let webhook = Webhook {
        secret: Some(secret_file(folder.path(), "open sesame\n")),
        ..to(&listener)
    };
    let sender = WebhookSender::new(webhook, QUICK);
    let (_running, ends) = goes_on();
    let ((), request) = tokio::join!(sender.deliver(BODY, "x", ends), serve(&listener, DONE));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|l| l.split_once(": "));
        fields.find(|(n, _)| *n == name).unwrap().1.to_owned()
    };
    assert!(
        head.starts_with("POST /services/path-with-a-secret HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(body, BODY);
    assert_eq!(field("Content-Length"), BODY.len().to_string());
    assert_eq!(field("Content-Type"), "application/json");
    let time = field("Had-Timestamp");
    assert!(wall_seconds().abs_diff(time.parse().unwrap()) < 60);
    let signed = folder.path().join("signed");
    fs::write(&signed, format!("{time}.{BODY}")).unwrap();
    let mut openssl = Command::new("openssl");
    openssl
        .args(["dgst", "-sha256", "-r", "-hmac", "open sesame"])
        .arg(&signed);
    let seen = String::from_utf8(openssl.output().unwrap().stdout).unwrap();
    let digest = seen.split(' ').next().unwrap();
    assert_eq!(digest.len(), 64);
    assert_eq!(field("Had-Signature"), format!("sha256={digest}"));
    assert!(!request.contains("sesame"));
}

#[tokio::test]
async fn a_server_that_is_down_at_first_is_told_when_it_is_back() {
    let (log, _guard) = catch();
    let first = listen().await;
    let webhook = to(&first);
    let place = first.local_addr().unwrap();
    let sender = WebhookSender::new(webhook, QUICK);
    let (_running, ends) = goes_on();
    let server = async {
        // It dies under the first request, is away, and then fails twice in other ways.
        drop(first.accept().await.unwrap());
        drop(first);
        let back = TcpListener::bind(place).await.unwrap();
        serve(&back, "HTTP/1.1 500 Oops\r\n\r\n").await;
        serve(&back, "SSH-2.0-x\r\n").await;
        serve(&back, DONE).await
    };
    let ((), request) = tokio::join!(sender.deliver(BODY, "db is online", ends), server);
    assert!(request.ends_with(BODY));
    assert_eq!(log.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_never_takes_it_is_one_line_of_the_log() {
    let (log, _guard) = catch();
    let listener = listen().await;
    let webhook = Webhook {
        timeout: Duration::from_millis(30),
        ..to(&listener)
    };
    let shown = format!("http://localhost:{}/", webhook.port);
    let patience = Patience {
        retry_for: Duration::from_millis(60),
        ..QUICK
    };
    let sender = WebhookSender::new(webhook, patience);
    let (_running, ends) = goes_on();
    // Nobody accepts the connection, but the kernel holds it.
    for what in ["db is offline", "db is failed"] {
        sender.deliver(BODY, what, ends.clone()).await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let begin = format!("notify: {shown} was not told \"db is offline\", tried for ");
    assert!(lines[0].starts_with(&begin), "{lines:?}");
    assert!(lines[0].contains(": no answer in time; "), "{lines:?}");
    assert!(!lines[0].contains("path-with-a-secret"), "{lines:?}");
    // It wakes up. What it did not take stays in its queue of connections.
    let served = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(DONE.as_bytes()).await.ok();
        }
    };
    let delivered = async {
        while log.lines().len() < 2 {
            sender.deliver(BODY, "db is online", ends.clone()).await;
        }
    };
    tokio::select! {
        () = delivered => {}
        () = served => {}
    }
    let again = format!("notify: {shown} takes notifications again; ");
    assert!(log.lines()[1].starts_with(&again), "{:?}", log.lines());
}

#[tokio::test]
async fn what_a_server_refuses_is_not_sent_again() {
    for (answer, wanted) in [
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "it answers with status 404",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
            "it answers with status 302",
        ),
    ] {
        let (log, _guard) = catch();
        let listener = listen().await;
        let sender = WebhookSender::new(to(&listener), QUICK);
        let (_running, ends) = goes_on();
        tokio::join!(sender.deliver(BODY, "x", ends), serve(&listener, answer));
        let lines = log.lines();
        assert!(lines.len() == 1 && lines[0].contains(wanted), "{lines:?}");
    }
}

#[tokio::test]
async fn the_end_of_the_daemon_ends_the_attempts() {
    let (log, _guard) = catch();
    let listener = listen().await;
    let patience = Patience {
        first_pause: Duration::from_secs(3600),
        longest_pause: Duration::from_secs(3600),
        retry_for: Duration::from_secs(7200),
    };
    let sender = WebhookSender::new(to(&listener), patience);
    let (running, ends) = goes_on();
    let server = async {
        serve(&listener, "HTTP/1.1 503 Later\r\n\r\n").await;
        running.send_replace(true);
    };
    tokio::join!(sender.deliver(BODY, "x", ends), server);
    assert!(log.lines()[0].contains("status 503"), "{:?}", log.lines());
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_not_used() {
    let (log, _guard) = catch();
    let folder = tempfile::tempdir().unwrap();
    let listener = listen().await;
    let file = secret_file(folder.path(), "open sesame\n");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let webhook = Webhook {
        secret: Some(file),
        ..to(&listener)
    };
    let (running, ends) = goes_on();
    running.send_replace(true);
    WebhookSender::new(webhook, QUICK)
        .deliver(BODY, "x", ends)
        .await;
    let lines = log.lines();
    assert!(lines[0].contains("group or others can read"), "{lines:?}");
    assert!(!lines[0].contains("sesame"), "{lines:?}");
}
