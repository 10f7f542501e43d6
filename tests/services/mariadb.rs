//! Real MariaDB servers on the nodes of a lab. They have the files of Debian's packages and replicate each other.

use std::collections::BTreeSet;
use std::time::Duration;

use had::lab::SpawnedProgram;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, wait};
use crate::database::template;

/// The published my.cnf without `slave-skip-errors`.
const MASTER: &str = "log-bin=mysql-bin
auto-increment-increment=2
bind-address=0.0.0.0
max_connections=10
";
/// Debian's paths, and the settings of a small server.
const SMALL: &str = "[mysqld]
pid-file=/run/mysqld/mysqld.pid
log-error=/var/log/mysqld.err
innodb_buffer_pool_size=8M
innodb_log_file_size=4M
innodb_flush_method=fsync
innodb_use_native_aio=0
key_buffer_size=1M
performance_schema=0
skip-name-resolve
";

/// Starts a server on both nodes, with a table and a client account. Each replicates the other.
pub fn copy_each_other(cluster: &Cluster, nodes: [&str; 2], places: [&str; 2]) {
    for (node, id) in nodes.into_iter().zip(1..) {
        install(cluster, node, id);
        start(cluster, node);
        sql(
            cluster,
            node,
            "set sql_log_bin=0; grant replication slave on *.* to replication@'%' identified by 'replication'; \
             grant all on *.* to shop@'%' identified by 'shop'; create database d; \
             create table d.t (n int primary key, node int) engine=innodb",
        );
    }
    for (node, peer) in nodes.into_iter().zip(places.into_iter().rev()) {
        sql(
            cluster,
            node,
            &format!(
                "change master to master_host='{peer}', master_user='replication', master_password='replication', \
                 master_connect_retry=1; start slave"
            ),
        );
    }
}

/// Puts data and configuration into Debian's places, seen by this node only.
fn install(cluster: &Cluster, node: &str, id: u32) {
    let data = template();
    cluster.sh(
        node,
        &format!(
            "mount -t tmpfs -o size=200m none /var/lib/mysql && cp -a {}/. /var/lib/mysql",
            data.display()
        ),
    );
    configure(
        cluster,
        node,
        &format!("{MASTER}server-id={id}\nauto-increment-offset={id}\n"),
    );
}

/// Configures a small server on the existing data, with these lines.
pub fn configure(cluster: &Cluster, node: &str, lines: &str) {
    cluster.sh(
        node,
        &format!(
            "mkdir -p /run/mysqld && touch /var/log/mysqld.err && \
             chown -R mysql: /var/lib/mysql /run/mysqld /var/log/mysqld.err && mount -t tmpfs none /etc/mysql && \
             printf '%s' '{SMALL}{lines}' > /etc/mysql/my.cnf"
        ),
    );
}

/// Starts the server. Returns when it answers.
pub fn start(cluster: &Cluster, node: &str) {
    let server = ["mariadbd", "--user=mysql"];
    cluster.lab.spawn(node, &server).unwrap();
    let answers = || cluster.run(node, "mariadb -e 'select 1'").success();
    assert!(
        wait(answers),
        "{node}: {}",
        cluster.sh(node, "cat /var/log/mysqld.err")
    );
}

pub fn signal(cluster: &Cluster, node: &str, signal: Signal) {
    let pid = cluster.sh(node, "cat /run/mysqld/mysqld.pid");
    let pid = pid.trim().parse().unwrap();
    cluster.lab.signal(node, pid, signal).unwrap();
}

pub fn sql(cluster: &Cluster, node: &str, query: &str) -> String {
    let said = cluster.sh(node, &format!("mariadb -N -e \"{query}\""));
    said.trim().to_owned()
}

/// A client that writes row after row, and notes which were acknowledged and when.
pub struct Writer {
    host: String,
    program: SpawnedProgram,
}

impl Writer {
    pub fn begin(cluster: &Cluster, address: &str) -> Writer {
        Writer::on(cluster, "client", address, 0)
    }

    /// On this host, with the rows after this number.
    pub fn on(cluster: &Cluster, host: &str, address: &str, after: u32) -> Writer {
        let write = format!(
            "n={after}; while :; do n=$((n+1)); timeout 3 mariadb --connect-timeout=1 -h {address} -u shop -pshop \
             -e \"insert into d.t values ($n, @@server_id)\" 2>> /var/log/writer.err && echo $n $(date +%s%3N) >> /var/log/acknowledged; sleep 0.02; done"
        );
        Writer {
            host: host.to_owned(),
            program: cluster.lab.spawn(host, &["sh", "-c", &write]).unwrap(),
        }
    }

    /// Waits until this node's server, which has this id, acknowledges another row.
    pub fn written(cluster: &Cluster, node: &str, id: &str) {
        let there = || {
            let last = cluster.run("client", "tail -n 1 /var/log/acknowledged");
            let n = last.stdout.split(' ').next().unwrap_or_default().to_owned();
            let row = format!("select node from d.t where n = '{n}'");
            !n.is_empty() && sql(cluster, node, &row) == id
        };
        assert!(wait(there), "nothing is written by {node}");
    }

    /// Ends it. Returns how many rows were acknowledged; all of them must reach these nodes. No write may have been refused as
    /// read-only, because a server becomes writable before it gets the address.
    pub fn compare(self, cluster: &Cluster, nodes: [&str; 2]) -> usize {
        let errors = cluster.sh(&self.host, "cat /var/log/writer.err");
        assert!(!errors.contains("read-only"), "{errors}");
        self.end(cluster, &nodes)
    }

    /// Ends it. Returns how many rows were acknowledged; all of them must reach these nodes.
    pub fn end(self, cluster: &Cluster, nodes: &[&str]) -> usize {
        let lab = &cluster.lab;
        lab.signal(&self.host, -self.program.pid, Signal::SIGKILL)
            .unwrap();
        let rows = |text: &str| -> BTreeSet<u32> {
            let numbers = text.lines().map(|l| l.split(' ').next().unwrap());
            numbers.map(|n| n.trim().parse().unwrap()).collect()
        };
        let acknowledged = rows(&cluster.sh(&self.host, "cat /var/log/acknowledged"));
        for node in nodes {
            let missing = || {
                let there = rows(&sql(cluster, node, "select n from d.t"));
                acknowledged.difference(&there).count()
            };
            assert!(wait(|| missing() == 0), "{node} has lost {}", missing());
        }
        acknowledged.len()
    }
}

/// The longest time without an acknowledged row since the last call.
pub fn longest_gap(cluster: &Cluster) -> Duration {
    let text = cluster.sh(
        "client",
        "touch /var/log/gap-seen; seen=$(cat /var/log/gap-seen); \
         tail -n +${seen:-1} /var/log/acknowledged | cut -d ' ' -f 2; wc -l < /var/log/acknowledged > /var/log/gap-seen",
    );
    let times: Vec<u64> = text.lines().map(|l| l.parse().unwrap()).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    Duration::from_millis(gaps.max().unwrap_or_default())
}

/// Prints the gaps of several failures of the same kind.
pub fn print_gaps(of: &str, mut gaps: Vec<Duration>) {
    gaps.sort();
    let (median, worst) = (gaps.get(gaps.len() / 2), gaps.last());
    println!(
        "{of}: {} times, without an acknowledged row for {median:?}, at worst {worst:?}",
        gaps.len()
    );
}
