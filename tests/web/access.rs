//! Who may ask, and how the program starts.

use std::process::Command;

use crate::rig::{ALICE, HAD_WEB, NODES, blueprint, get, start, until_code};

/// What it says when it does not start.
fn refused(options: &[&str]) -> String {
    let output = Command::new(HAD_WEB).args(options).output().unwrap();
    assert!(!output.status.success(), "{options:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn it_says_why_it_does_not_start() {
    let elsewhere = refused(&["--listen", "0.0.0.0:0"]);
    assert!(
        elsewhere.starts_with("error: other machines reach 0.0.0.0:0"),
        "{elsewhere}"
    );
    let missing = refused(&["--token-file", "/no/such/file"]);
    assert!(
        missing.starts_with("error: cannot read /no/such/file"),
        "{missing}"
    );
    let alone = refused(&["--tls-certificate", "/dev/null"]);
    assert!(alone.contains("--tls-key"), "{alone}");
}

#[test]
fn with_tls_and_a_token_others_learn_nothing() {
    let cluster = blueprint("web-token").up();
    cluster.sh(
        "alice",
        "umask 077; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=alice \
         -keyout /run/key.pem -out /run/cert.pem -days 2 2>&1 && echo 0123456789abcdef0123 >/run/token",
    );
    start(
        &cluster,
        NODES[0],
        "--listen 0.0.0.0:9694 --tls-certificate /run/cert.pem --tls-key /run/key.pem --token-file /run/token",
    );
    let at = |path: &str| format!("https://{ALICE}:9694{path}");
    until_code(&cluster, &at("/healthz"), 200);
    for path in ["/metrics", "/api/v1/status", "/api/v1/history", "/events"] {
        assert_eq!(get(&cluster, "", &at(path)).0, 401, "{path}");
        let wrong = "-H 'Authorization: Bearer 0123456789abcdef0124'";
        assert_eq!(get(&cluster, wrong, &at(path)).0, 401, "{path}");
    }
    let right = "-H 'Authorization: Bearer 0123456789abcdef0123'";
    assert_eq!(get(&cluster, right, &at("/metrics")).0, 200);
    assert_eq!(get(&cluster, "", &at("/")).0, 200);
    assert_eq!(get(&cluster, "-X POST -d x=y", &at("/")).0, 405);
    assert_eq!(get(&cluster, right, &at("/no/such/path")).0, 404);
    // Plain HTTP is not answered there.
    assert_eq!(
        get(&cluster, "", &at("/metrics").replace("https", "http")).0,
        0
    );

    let printed = cluster.sh("alice", "hactl status --json; true");
    let (code, served) = get(&cluster, right, &at("/api/v1/status"));
    assert_eq!(code, 200);
    let keys = |text: &str| -> Vec<String> {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&served), keys(&printed));
    assert!(keys(&served).contains(&"problems".to_owned()));
    let (_, history) = get(&cluster, right, &at("/api/v1/history"));
    let entries: Vec<had::model::journal::Entry> = serde_json::from_str(&history).unwrap();
    assert!(!entries.is_empty());

    // On a loopback address anybody on the machine may ask, but no page of the web under its own name.
    start(&cluster, "bob", "");
    let ask = |host: &str| {
        let command = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: {host}' http://127.0.0.1:9694/metrics; true"
        );
        cluster.sh("bob", &command)
    };
    assert!(crate::cluster::wait(|| ask("localhost") == "200"));
    assert_eq!(ask("evil.example"), "421");
}

#[test]
fn every_option_is_in_its_page() {
    let output = Command::new(HAD_WEB).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let page = crate::rig::file("packaging/man/had-web.8");
    let lines = help.lines().map(str::trim_start);
    let options = lines.filter_map(|l| l.strip_prefix("--")?.split_whitespace().next());
    let options: Vec<&str> = options.collect();
    assert!(options.len() > 5, "{help}");
    for option in options {
        assert!(page.contains(&format!(".It Fl -{option}")), "{option}");
    }
    let below = help.lines().filter(|l| l.starts_with("  /"));
    let paths: Vec<&str> = below.filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(paths.len(), 8, "{help}");
    for path in paths {
        assert!(page.contains(&format!(".It Pa {path}\n")), "{path}");
    }
}
