//! `/groups/GROUP/owner`: how a load balancer finds a group without an address.

use crate::cluster::{Cluster, wait};
use crate::rig::{ALICE, BOB, blueprint, get, pair, until_code, up};

fn owner(group: &str, address: &str) -> String {
    format!("http://{address}:9694/groups/{group}/owner")
}

#[test]
fn one_node_says_that_it_is_the_owner() {
    let cluster = pair("web-owner");
    assert_eq!(
        until_code(&cluster, &owner("web", ALICE), 200),
        "web runs on alice, which is this node\n"
    );
    assert_eq!(
        until_code(&cluster, &owner("web", BOB), 503),
        "web does not run on bob; it is on alice\n"
    );
    let (code, text) = get(&cluster, "", &owner("wbe", ALICE));
    assert_eq!(
        (code, text.contains("did you mean `web`?")),
        (404, true),
        "{text}"
    );
    cluster.sh("bob", "hactl takeover web");
    until_code(&cluster, &owner("web", BOB), 200);
    until_code(&cluster, &owner("web", ALICE), 503);
    cluster.sh("bob", "hactl stop --force");
    until_code(&cluster, &owner("web", ALICE), 200);
    let mut text = String::new();
    let told = wait(|| {
        text = until_code(&cluster, &owner("web", BOB), 503);
        text.contains("cannot reach had at")
    });
    assert!(told, "{text}");
}

/// Answers with the name of its node while the group `web` runs there.
const NGINX: &str = "#!/bin/sh
conf=/run/nginx.conf
case $1 in
start) echo 'pid /run/nginx.pid; error_log /var/log/nginx.log; events {}
  http { access_log off; server { listen 8080; return 200 $hostname; } }' >$conf; nginx -c $conf;;
stop) [ ! -e /run/nginx.pid ] || nginx -c $conf -s stop;;
status) if [ -e /run/nginx.pid ]; then echo running; else echo stopped; fi;;
esac
";

const BALANCER: &str = "defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
listen web
  bind 127.0.0.1:80
  option httpchk GET /groups/web/owner
  default-server check port 9694 inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
  server alice 10.0.0.1:8080
  server bob 10.0.0.2:8080
";

fn page(cluster: &Cluster) -> String {
    cluster
        .run("client", "curl -s -m 2 http://127.0.0.1/")
        .stdout
}

#[test]
fn haproxy_follows_a_group_without_an_address() {
    let cluster = up(blueprint("web-haproxy").script("web", NGINX));
    let start =
        format!("cat >/run/haproxy.cfg <<'END'\n{BALANCER}END\nhaproxy -D -f /run/haproxy.cfg");
    cluster.sh("client", &start);
    assert!(wait(|| page(&cluster) == "alice"), "{}", page(&cluster));
    cluster.sh("bob", "hactl takeover web");
    assert!(wait(|| page(&cluster) == "bob"), "{}", page(&cluster));
    cluster.lab.crash("bob").unwrap();
    assert!(wait(|| page(&cluster) == "alice"), "{}", page(&cluster));
}
