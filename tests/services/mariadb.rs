//! Real MariaDB servers on the nodes of a lab, each with the files that Debian's packages would give it, which copy each other.

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, wait};
use crate::database::template;

/// The lines of the published my.cnf but one, `slave-skip-errors`; and what makes a server small.
const SERVER: &str = "[mysqld]
log-bin=mysql-bin
auto-increment-increment=2
bind-address=0.0.0.0
pid-file=/run/mysqld/mysqld.pid
log-error=/var/log/mysqld.err
max_connections=10
innodb_buffer_pool_size=8M
innodb_log_file_size=4M
innodb_flush_method=fsync
innodb_use_native_aio=0
key_buffer_size=1M
performance_schema=0
skip-name-resolve
";

/// Starts a server on both nodes, with a table and an account for clients, each a copy of the other.
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

/// Its data and its configuration in the places of Debian's packages, seen by this node alone.
fn install(cluster: &Cluster, node: &str, id: u32) {
    let data = template();
    cluster.sh(
        node,
        &format!(
            "mkdir -p /run/mysqld && mount -t tmpfs -o size=200m none /var/lib/mysql && \
             cp -a {}/. /var/lib/mysql && chown -R mysql: /var/lib/mysql /run/mysqld && \
             touch /var/log/mysqld.err && chown mysql: /var/log/mysqld.err && mount -t tmpfs none /etc/mysql && \
             printf '%s' '{SERVER}server-id={id}\nauto-increment-offset={id}\n' > /etc/mysql/my.cnf",
            data.display()
        ),
    );
}

/// Comes back when it answers.
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
