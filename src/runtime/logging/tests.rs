use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc;

use super::*;

fn line(text: String) -> LogLine {
    LogLine {
        level: Level::INFO,
        when: "now".into(),
        text,
    }
}

/// A FIFO without a reader hangs at open; the other target gets a line about it, and nothing waits.
#[test]
fn a_target_that_hangs_loses_its_own_lines_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (fifo, file) = (folder.path().join("fifo"), folder.path().join("file"));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let open = |path: &std::path::Path| {
        let path = path.to_owned();
        let name = path.display().to_string();
        LogSink::start(name, LevelFilter::INFO, || LogTarget::file(path))
    };
    let ((hung, problem), (works, no_problem)) = (open(&fifo), open(&file));
    assert!(problem.unwrap().contains("it hangs"));
    assert_eq!(no_problem, None);
    let log = Log(vec![hung.unwrap(), works.unwrap()]);
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        for n in 0..3000 {
            log.write(line(format!("sentence {n}.")));
            if n % 100 == 0 {
                log.0[1].flush(Instant::now() + Duration::from_secs(60));
            }
        }
        log.0[1].flush(Instant::now() + Duration::from_secs(60));
        done.send(log).unwrap();
    });
    let log = is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    let lost: Vec<_> = log.lost().collect();
    let [(target, count)] = lost.as_slice() else {
        panic!("{lost:?}");
    };
    assert!(target.ends_with("/fifo") && *count >= 1900, "{lost:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("INFO sentence 2999.\n"));
    assert_eq!(text.matches("does not accept log lines").count(), 1);
    // Now somebody reads it: the queued lines arrive, and a line that says how many were lost.
    let mut reader = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    let (mut read, end) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    let all =
        |read: &[u8]| String::from_utf8_lossy(read).contains("were lost, because they could not");
    while !all(&read) {
        assert!(Instant::now() < end, "{}", String::from_utf8_lossy(&read));
        // Nothing there yet, or the file is being opened anew for the next line.
        drop(reader.read_to_end(&mut read));
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains("INFO sentence 0.\n"), "{text}");
    assert!(
        text.contains(&format!("{count} log lines before this one")),
        "{text}"
    );
}

#[test]
fn a_line_has_no_password_and_steers_no_terminal() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let target = path.clone();
    let open = || LogTarget::file(target);
    let (sink, problem) = LogSink::start("log".to_owned(), LevelFilter::INFO, open);
    assert_eq!(problem, None);
    let log = Arc::new(Log(vec![sink.unwrap()]));
    let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&log)));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("started x::passwd=hidden as \u{1b}[2Jroot");
    });
    log.0[0].flush(Instant::now() + Duration::from_secs(60));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.ends_with("INFO started x::passwd=*** as \u{fffd}[2Jroot\n"),
        "{text}"
    );
}
