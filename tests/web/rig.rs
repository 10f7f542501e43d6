//! A pair with a gateway, and had-web on both nodes. The group `web` is a script, the group `db` too; neither has an address.

use std::path::Path;

use crate::cluster::{Blueprint, Cluster, STAND_IN, TIMES, wait};

pub const HAD_WEB: &str = env!("CARGO_BIN_EXE_had-web");
pub const NODES: [&str; 2] = ["alice", "bob"];
pub const ALICE: &str = "10.0.0.1";
pub const BOB: &str = "10.0.0.2";
/// What lets other hosts of the lab ask.
pub const ANYWHERE: &str = "--listen 0.0.0.0:9694 --plain-http-anywhere";

/// The cluster before it is built.
pub fn blueprint(name: &str) -> Blueprint {
    blueprint_with(name, "")
}

/// The same with more lines of ha.cf.
pub fn blueprint_with(name: &str, more: &str) -> Blueprint {
    let ha_cf = format!(
        "{TIMES}node alice bob\nucast eth0 {ALICE}\nucast eth0 {BOB}\nping 10.0.0.254\nauto_failback off\n\
         monitor * every 1s\ncheck disk exec /bin/true every 1s\n{more}"
    );
    Blueprint::new(name, &ha_cf, "alice web\nbob db\n")
        .script("web", STAND_IN)
        .script("db", STAND_IN)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .gateway("eth0 10.0.0.254/24")
        .client("eth0 10.0.0.9/24")
}

/// Builds it, starts had-web on both nodes, and waits until each group is on its node.
pub fn pair(name: &str) -> Cluster {
    up(blueprint(name))
}

/// The same of a blueprint.
pub fn up(blueprint: Blueprint) -> Cluster {
    let cluster = blueprint.up();
    for node in NODES {
        start(&cluster, node, ANYWHERE);
    }
    cluster.until_owner("web", "alice");
    cluster.until_owner("db", "bob");
    for (group, address) in [("web", ALICE), ("db", BOB)] {
        let url = format!("http://{address}:9694/groups/{group}/owner");
        until_code(&cluster, &url, 200);
    }
    cluster
}

/// Starts had-web on a node. Its words go to `/var/log/had-web`.
pub fn start(cluster: &Cluster, node: &str, options: &str) -> i32 {
    let command = format!("exec {HAD_WEB} {options} >>/var/log/had-web 2>&1");
    let argv = ["sh", "-c", &command];
    cluster.lab.spawn(node, &argv).unwrap().pid
}

/// Asks from the client; the code is 0 if there is no answer.
pub fn get(cluster: &Cluster, options: &str, url: &str) -> (u16, String) {
    let command = format!("curl -sk -m 10 -w '\\n%{{http_code}}' {options} '{url}'");
    let output = cluster.run("client", &command).stdout;
    let (body, code) = output.rsplit_once('\n').unwrap_or_default();
    (code.parse().unwrap_or_default(), body.to_owned())
}

/// Waits until a path answers with this code. Returns the body.
pub fn until_code(cluster: &Cluster, url: &str, code: u16) -> String {
    let mut last = (0, String::new());
    let met = wait(|| {
        last = get(cluster, "", url);
        last.0 == code
    });
    assert!(met, "{url} gives no {code}: {last:?}");
    last.1
}

/// The value of a sample on a page of metrics.
pub fn sample(page: &str, name: &str) -> Option<f64> {
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.parse().ok()
}

/// A file of the tree.
pub fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}
