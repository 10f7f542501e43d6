use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::agent::exec::testing::write_program;
use crate::model::decision::Because;
use crate::model::{GroupName, NodeName};

fn notification(from: &'static str, to: &'static str, sequence: u64) -> Notification {
    Notification {
        subject: Subject::Group("db".to_owned()),
        from,
        to,
        reason: format!("reason {sequence}"),
        sequence,
        skipped: 0,
        time: 7,
    }
}

#[test]
fn notifications_that_wait_are_merged_from_the_state_notified_last() {
    let first = notification("online", "offline", 4).merge(None);
    assert_eq!(first, Some(notification("online", "offline", 4)));
    let wanted = Notification {
        from: "online",
        skipped: 1,
        ..notification("offline", "failed", 5)
    };
    let second = notification("offline", "failed", 5).merge(first);
    assert_eq!(second, Some(wanted));
    // The state is again the one notified last.
    assert_eq!(notification("failed", "online", 6).merge(second), None);
}

/// The JSON of one request, which is then answered.
async fn take(listener: &TcpListener) -> (serde_json::Value, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    loop {
        stream.read_buf(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request).into_owned();
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        if let Some(json) = body.and_then(|b| serde_json::from_str(b).ok()) {
            return (json, stream);
        }
    }
}

async fn answer(mut stream: TcpStream) {
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    stream.write_all(answer).await.unwrap();
}

fn webhook(listener: &TcpListener) -> Webhook {
    Webhook {
        secure: false,
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        path: "/hook".to_owned(),
        secret: None,
        ca: None,
        timeout: Duration::from_secs(60),
    }
}

fn hooks(folder: &Path, webhooks: Vec<Webhook>) -> Hooks {
    let path = folder.join("program");
    let told = folder.join("told");
    let script = format!("#!/bin/sh\necho $HA_NOTIFY_TO >>{}\n", told.display());
    write_program(&path, &script);
    let mut env = ScriptEnv::new(NodeName::new("alice"), folder);
    env.directives = vec![("cluster".to_owned(), "shop".to_owned())];
    let timeout = Duration::from_secs(60);
    Hooks {
        notify: vec![Hook { path, timeout }],
        webhooks,
        status: None,
        env: Arc::new(env),
    }
}

fn of_group(group: &str, what: What) -> Decision {
    Decision {
        group: Some(GroupName::new(group)),
        what,
        because: Because::SaidSo,
    }
}

#[tokio::test]
async fn a_server_that_is_slow_delays_nobody_and_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quick = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let both = vec![webhook(&slow), webhook(&quick)];
    let mut notifier = Notifier::new(hooks(folder.path(), both));
    notifier.add_decision(&of_group("db", What::Online));
    let (first, pending) = take(&slow).await;
    // While it does not answer, the other server and the programs are told.
    for (what, to) in [
        (What::Online, "online"),
        (What::Offline, "offline"),
        (What::Failed, "failed"),
    ] {
        notifier.add_decision(&of_group("db", what));
        let (told, stream) = take(&quick).await;
        assert_eq!(told["to"], to);
        answer(stream).await;
    }
    // A new group need not wait for the other one.
    notifier.add_decision(&of_group("web", What::Online));
    let (of_web, stream) = take(&slow).await;
    assert_eq!(
        (of_web["name"].as_str(), of_web["to"].as_str()),
        (Some("web"), Some("online"))
    );
    answer(stream).await;
    let (_, stream) = take(&quick).await;
    answer(stream).await;
    answer(pending).await;
    let time = first["time"].as_u64().unwrap();
    assert!(time > 1_700_000_000, "{time}");
    let wanted = serde_json::json!({
        "version": 1, "cluster": "shop", "node": "alice", "time": time, "about": "group", "name": "db",
        "from": "unknown", "to": "online", "reason": first["reason"], "sequence": 1, "skipped": 0,
    });
    assert_eq!(first, wanted);
    // What happened meanwhile is one notification.
    let (second, stream) = take(&slow).await;
    let wanted = serde_json::json!({
        "version": 1, "cluster": "shop", "node": "alice", "time": second["time"], "about": "group", "name": "db",
        "from": "online", "to": "failed", "reason": second["reason"], "sequence": 3, "skipped": 1,
    });
    assert_eq!(second, wanted);
    answer(stream).await;
    notifier.finish(Duration::from_secs(60)).await;
    let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
    assert!(
        told.starts_with("online\n") && told.contains("failed\n"),
        "{told}"
    );
}
