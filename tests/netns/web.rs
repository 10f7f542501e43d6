//! A web server behind an address on two nodes, as a user published it.

use crate::common::{Blueprint, Cluster, TIMES, wait};

pub const NODES: [&str; 2] = ["master-node", "slave-node"];
pub const WEB: &str = "10.11.7.235";

/// Answers with the name of its node.
const NGINX_CONF: &str = "user root;
pid /run/nginx.pid;
error_log /var/log/nginx.log;
events {}
http {
    access_log off;
    server { listen 80; location / { return 200 $hostname; } }
}
";

/// Prints the page, or fails.
pub const FETCH: &str = "timeout 1 bash -c 'exec 3<>/dev/tcp/10.11.7.235/80; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; sed 1,/^.$/d <&3' 2>&1";

/// Two nodes with nginx and a client. `lines` are added to ha.cf.
pub fn blueprint(name: &str, lines: &str, haresources: &str) -> Blueprint {
    let ha_cf = format!(
        "{TIMES}ucast ens192 10.11.7.231\nucast ens192 10.11.7.232\nnode master-node\nnode slave-node\n\
         env NGINX=/etc/ha.d/nginx\n{lines}"
    );
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/resource.d/nginx");
    let start = "#!/bin/sh\nexec /usr/sbin/nginx -c /etc/ha.d/nginx.conf \"$@\"\n";
    Blueprint::new(name, &ha_cf, haresources)
        .script("nginx", &std::fs::read_to_string(agent).unwrap())
        .file("nginx.conf", NGINX_CONF, 0o644)
        .file("nginx", start, 0o755)
        .node("master-node", &["ens192 10.11.7.231/24"], &[])
        .node("slave-node", &["ens192 10.11.7.232/24"], &[])
        .client("ens192 10.11.7.9/24")
        .watch(&[WEB])
}

pub fn page(cluster: &Cluster) -> String {
    cluster.run("client", FETCH).stdout
}

/// Waits until the node has the address and serves its page there.
pub fn served_by(cluster: &Cluster, node: &str) {
    cluster.until_owner("IPaddr", node);
    assert!(
        wait(|| page(cluster) == node),
        "{WEB} is not served by {node}: {}",
        page(cluster)
    );
}
