use super::*;
use crate::control::api::RefusalCode;
use crate::control::api::{RequestLine, Response, VERSION};
use crate::control::client::{ClientError, ControlClient};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// Far more than anything here takes on the slowest machine; only a failure waits so long.
const LONG: Duration = Duration::from_secs(60);

struct Bed {
    folder: tempfile::TempDir,
    calls: mpsc::Receiver<ControlCall>,
    changes: watch::Sender<()>,
}

impl Bed {
    fn new() -> Bed {
        Bed::patient(LONG)
    }

    fn patient(line_timeout: Duration) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let mut server = ControlServer::bind(&folder.path().join("had.sock")).unwrap();
        server.line_timeout = line_timeout;
        let (calls, receiver) = mpsc::channel(8);
        let (changes, watched) = watch::channel(());
        tokio::spawn(server.serve(calls, watched));
        Bed {
            folder,
            calls: receiver,
            changes,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("had.sock")
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.path()).await.unwrap())
    }

    async fn call(&mut self) -> ControlCall {
        tokio::time::timeout(LONG, self.calls.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

fn line(request: Request) -> String {
    let line = RequestLine {
        version: VERSION,
        request,
    };
    serde_json::to_string(&line).unwrap() + "\n"
}

async fn send(client: &mut BufReader<UnixStream>, request: Request) {
    client.write_all(line(request).as_bytes()).await.unwrap();
}

async fn response(client: &mut BufReader<UnixStream>) -> Result<ControlAnswer, Refusal> {
    let mut text = String::new();
    tokio::time::timeout(LONG, client.read_line(&mut text))
        .await
        .unwrap()
        .unwrap();
    let response: Response = serde_json::from_str(&text).unwrap();
    assert_eq!(response.version, VERSION);
    response.result
}

fn done(text: &str) -> ControlAnswer {
    ControlAnswer::Done(text.to_owned())
}

#[tokio::test]
async fn a_request_reaches_the_daemon_and_its_answer_the_client() {
    let mut bed = Bed::new();
    let path = bed.path();
    let client = tokio::task::spawn_blocking(move || {
        ControlClient::connect(&path)?.ask(&Request::Restart { force: false }, LONG)
    });
    let call = bed.call().await;
    assert_eq!(call.request, Request::Restart { force: false });
    assert_eq!(call.caller.uid, 0);
    call.reply.send(Ok(done("good"))).unwrap();
    assert_eq!(
        client.await.unwrap().unwrap(),
        ControlAnswer::Done("good".into())
    );
}

/// Whatever is answered, to whomever.
#[tokio::test]
async fn no_answer_has_a_password_or_steers_a_terminal() {
    let mut bed = Bed::new();
    let mut client = bed.connect().await;
    let hostile = "x::passwd=hidden \u{1b}]0;title\u{7}";
    for outcome in [
        Ok(done(hostile)),
        Err(Refusal::new(RefusalCode::Failed, hostile)),
    ] {
        client
            .write_all(line(Request::Restart { force: false }).as_bytes())
            .await
            .unwrap();
        bed.call().await.reply.send(outcome).unwrap();
        let mut text = String::new();
        client.read_line(&mut text).await.unwrap();
        assert!(text.contains("x::passwd=***"), "{text}");
        assert!(
            !text.contains("hidden") && !text.contains("\\u001b") && !text.contains("\\u0007"),
            "{text}"
        );
    }
}

/// An older daemon, or one that is not ours.
#[test]
fn a_client_believes_no_daemon_to_be_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("had.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let response = Response {
            version: VERSION,
            result: Ok(done("\u{1b}[2Jpasswd=hidden")),
        };
        let text = serde_json::to_string(&response).unwrap();
        writeln!(stream, "{text}").unwrap();
    });
    let mut client = ControlClient::connect(&path).unwrap();
    let answer = client
        .ask(&Request::Restart { force: false }, LONG)
        .unwrap();
    assert_eq!(answer, done("\u{fffd}[2Jpasswd=***"));
    daemon.join().unwrap();
}

#[tokio::test]
async fn bad_lines_are_refused_and_the_next_line_still_serves() {
    let mut bed = Bed::new();
    let mut client = bed.connect().await;
    for (bad, code) in [
        ("hello\n", RefusalCode::BadRequest),
        ("\n", RefusalCode::BadRequest),
        (
            "{\"version\":9,\"request\":{\"do\":\"fly\"}}\n",
            RefusalCode::Version,
        ),
        (
            "{\"version\":1,\"request\":{\"do\":\"fly\"}}\n",
            RefusalCode::BadRequest,
        ),
    ] {
        client.write_all(bad.as_bytes()).await.unwrap();
        assert_eq!(response(&mut client).await.unwrap_err().code, code, "{bad}");
    }
    send(&mut client, Request::Restart { force: false }).await;
    bed.call().await.reply.send(Ok(done("still here"))).unwrap();
    assert_eq!(response(&mut client).await.unwrap(), done("still here"));
}

#[tokio::test]
async fn who_sends_nothing_but_mistakes_is_dropped() {
    let bed = Bed::new();
    let mut client = bed.connect().await;
    client.write_all(&[b'\n'; 100]).await.unwrap();
    let mut heard = String::new();
    // Closing with unread input may lose the last of the answers; what counts is the end.
    let all = client.read_to_string(&mut heard);
    tokio::time::timeout(LONG, all).await.unwrap().ok();
    assert!(heard.lines().count() <= 16, "{heard}");
}

#[tokio::test]
async fn an_endless_line_is_cut_off() {
    let bed = Bed::new();
    let mut client = bed.connect().await;
    let (mut reader, mut writer) = client.get_mut().split();
    let flood = async {
        // Ends with an error once the server has closed.
        while writer.write_all(&[b'x'; 8192]).await.is_ok() {}
    };
    let mut heard = Vec::new();
    let listen = reader.read_to_end(&mut heard);
    tokio::time::timeout(LONG, async { tokio::join!(flood, listen) })
        .await
        .unwrap()
        .1
        .ok();
    // Closing with unread input may lose the refusal, as TCP would; what counts is the end.
    assert!(heard.is_empty() || String::from_utf8_lossy(&heard).contains("bad_request"));
}

#[tokio::test]
async fn silent_clients_delay_nobody_and_too_many_are_refused() {
    let mut bed = Bed::new();
    let mut silent = Vec::new();
    for _ in 1..MAX_CLIENTS {
        silent.push(bed.connect().await);
    }
    let mut client = bed.connect().await;
    send(&mut client, Request::Restart { force: false }).await;
    bed.call().await.reply.send(Ok(done("served"))).unwrap();
    assert_eq!(response(&mut client).await.unwrap(), done("served"));

    let mut surplus = bed.connect().await;
    assert_eq!(
        response(&mut surplus).await.unwrap_err().code,
        RefusalCode::Busy
    );

    silent.pop();
    // The place is free once the server has noticed.
    tokio::time::timeout(LONG, async {
        loop {
            let mut late = bed.connect().await;
            late.write_all(line(Request::Restart { force: false }).as_bytes()).await.ok();
            tokio::select! {
                refused = response(&mut late) => assert_eq!(refused.unwrap_err().code, RefusalCode::Busy),
                call = bed.calls.recv() => break assert_eq!(call.unwrap().request, Request::Restart { force: false }),
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped_in_time() {
    let bed = Bed::patient(Duration::from_millis(50));
    let mut client = bed.connect().await;
    client.write_all(b"{\"version\"").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, client.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn the_reply_closes_when_the_client_leaves_but_not_when_it_only_stops_sending() {
    let mut bed = Bed::new();
    let mut half = bed.connect().await;
    send(&mut half, Request::Restart { force: false }).await;
    half.shutdown().await.unwrap();
    let patient = bed.call().await;

    let mut gone = bed.connect().await;
    send(&mut gone, Request::Restart { force: false }).await;
    let mut abandoned = bed.call().await;
    drop(gone);
    tokio::time::timeout(LONG, abandoned.reply.closed())
        .await
        .unwrap();

    assert!(!patient.reply.is_closed());
    patient.reply.send(Ok(done("late"))).unwrap();
    assert_eq!(response(&mut half).await.unwrap(), done("late"));
}

#[tokio::test]
async fn a_subscriber_hears_of_every_change_but_not_more_often_than_it_can_read() {
    let mut bed = Bed::new();
    let mut client = bed.connect().await;
    send(&mut client, Request::Subscribe).await;
    let began = std::time::Instant::now();
    for n in 0..3 {
        let call = bed.call().await;
        assert_eq!(call.request, Request::Status);
        call.reply.send(Ok(done(&n.to_string()))).unwrap();
        assert_eq!(response(&mut client).await.unwrap(), done(&n.to_string()));
        bed.changes.send_replace(());
    }
    // Two rests lie between three pushes.
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn a_call_that_the_daemon_drops_is_answered_all_the_same() {
    let mut bed = Bed::new();
    let mut client = bed.connect().await;
    send(&mut client, Request::Status).await;
    drop(bed.call().await);
    assert_eq!(
        response(&mut client).await.unwrap_err().code,
        RefusalCode::Failed
    );
}

#[test]
fn a_living_daemon_is_named_and_a_dead_one_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/had.sock");
    let first = ControlServer::bind(&path).unwrap();
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o666, 0o755));
    let refused = ControlServer::bind(&path).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("had is already running (pid {})", std::process::id())
    );
    drop(first);
    assert!(!path.exists());
    // As after kill -9: the file is there, nobody listens, nobody holds the lock.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(ControlServer::bind(&path).unwrap());
    fs::write(&path, "precious").unwrap();
    let refused = ControlServer::bind(&path).unwrap_err().to_string();
    assert!(refused.contains("exists and is not a socket"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// Before, any user could lock the world-readable pid file, and the daemon did not start.
#[test]
fn other_users_cannot_lock_the_pid_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("had.sock");
    let pid_file = folder.path().join("had.pid");
    fs::write(&pid_file, "1\n").unwrap();
    fs::set_permissions(&pid_file, Permissions::from_mode(0o644)).unwrap();
    let stranger = File::open(&pid_file).unwrap();
    let _held = Flock::lock(stranger, nix::fcntl::FlockArg::LockShared).unwrap();
    let server = ControlServer::bind(&path).unwrap();
    assert_eq!(fs::metadata(&pid_file).unwrap().mode() & 0o777, 0o600);
    drop(server);
}

/// A daemon of a version whose pid file everybody could read.
#[test]
fn an_older_daemon_that_listens_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("had.sock");
    let pid_file = folder.path().join("had.pid");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::write(&pid_file, "7\n").unwrap();
    fs::set_permissions(&pid_file, Permissions::from_mode(0o644)).unwrap();
    let _held = Flock::lock(
        File::open(&pid_file).unwrap(),
        nix::fcntl::FlockArg::LockExclusive,
    );
    let refused = ControlServer::bind(&path).unwrap_err().to_string();
    assert_eq!(refused, "had is already running (pid 7)");
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    for mode in [0o1777, 0o775] {
        fs::set_permissions(&run, Permissions::from_mode(mode)).unwrap();
        let refused = ControlServer::bind(&run.join("had.sock")).unwrap_err();
        let refused = refused.to_string();
        let wanted = format!(
            "{} belongs to user 0 and has mode {mode:04o}",
            run.display()
        );
        assert!(refused.starts_with(&wanted), "{refused}");
    }
}

#[test]
fn without_a_daemon_the_client_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("had.sock");
    let error = ControlClient::connect(&path).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = ControlClient::connect(&path).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
}

#[test]
fn a_daemon_that_does_not_answer_is_given_up_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("had.sock");
    let _mute = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut client = ControlClient::connect(&path).unwrap();
    let error = client
        .ask(&Request::Status, Duration::from_millis(20))
        .unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}
