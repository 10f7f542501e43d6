//! nginx on each host, started by a stand-in for systemd, and a client that asks again and again.

use std::cell::Cell;

use had::lab::SpawnedProgram;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, wait};

/// A stand-in for the service manager. It has only nginx, and no keepalived any more.
const SYSTEMCTL: &str = "#!/bin/sh
case $* in
\"restart nginx\") exec nginx -c /run/nginx.conf ;;
*) echo \"Failed to $1 $2.service: Unit $2.service not loaded.\" >&2; exit 5 ;;
esac
";

/// The configuration of nginx with these servers.
fn configuration(servers: &str) -> String {
    format!(
        "user root;\npid /run/nginx.pid;\nerror_log /var/log/nginx.log;\nevents {{}}\nhttp {{\naccess_log off;\n{servers}\n}}\n"
    )
}

/// Installs nginx and the stand-in on a host, and starts nginx.
pub fn install(cluster: &Cluster, host: &str, servers: &str) {
    let put = |file: &str, text: &str| {
        cluster.sh(
            host,
            &format!("cat > {file} <<'END'\n{text}END\nchmod 755 {file}"),
        );
    };
    cluster.sh(host, "mount -t tmpfs none /usr/local/sbin");
    put("/usr/local/sbin/systemctl", SYSTEMCTL);
    put("/run/nginx.conf", &configuration(servers));
    cluster.sh(host, "nginx -c /run/nginx.conf");
}

/// Kills nginx. Whatever watches it may start it again.
pub fn kill(cluster: &Cluster, host: &str) {
    cluster.run(host, "pkill -KILL -x nginx");
}

/// A running nginx continues, but it cannot be started any more.
pub fn break_configuration(cluster: &Cluster, host: &str) {
    cluster.sh(host, "echo nonsense >> /run/nginx.conf");
}

pub fn mend_configuration(cluster: &Cluster, host: &str) {
    cluster.sh(host, "sed -i /nonsense/d /run/nginx.conf");
}

/// The page that the client gets at an address. Empty if it gets none.
pub fn page(cluster: &Cluster, address: &str) -> String {
    let ask = format!("curl -gsf -m 5 http://{address}/");
    cluster.run("client", &ask).stdout
}

/// The page, and the balancer that passed it on.
pub fn page_by(cluster: &Cluster, address: &str) -> (String, String) {
    let ask = format!("curl -gsf -m 5 -D - http://{address}/");
    let answer = cluster.run("client", &ask).stdout;
    let (head, page) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let mut fields = head.lines().filter_map(|l| l.strip_prefix("Balancer: "));
    let by = fields.next().unwrap_or_default().to_owned();
    (page.to_owned(), by)
}

/// Waits until the client gets this page.
pub fn until_page(cluster: &Cluster, address: &str, wanted: &str) {
    let seen = || page(cluster, address);
    assert!(
        wait(|| seen() == wanted),
        "{address} answers {:?}, not {wanted}",
        seen()
    );
}

/// A client that requests the page of an address again and again.
pub struct Visitor<'c> {
    cluster: &'c Cluster,
    job: SpawnedProgram,
    file: String,
    /// How many of its lines were already searched for gaps.
    looked: Cell<usize>,
}

impl Visitor<'_> {
    /// A client that waits long, and so should get every page.
    pub fn new<'c>(cluster: &'c Cluster, address: &str, name: &str) -> Visitor<'c> {
        Visitor::with_patience(cluster, address, name, 10)
    }

    /// A client that gives up after a second, to measure how long there is no answer.
    pub fn impatient<'c>(cluster: &'c Cluster, address: &str, name: &str) -> Visitor<'c> {
        Visitor::with_patience(cluster, address, name, 1)
    }

    fn with_patience<'c>(
        cluster: &'c Cluster,
        address: &str,
        name: &str,
        seconds: u32,
    ) -> Visitor<'c> {
        let file = format!("/var/log/visitor-{name}");
        let ask = format!(
            "while :; do curl -gsf -o /dev/null -m {seconds} http://{address}/; echo $? $(date +%s%3N) >> {file}; sleep 0.01; done"
        );
        let job = cluster.lab.spawn("client", &["sh", "-c", &ask]).unwrap();
        let visitor = Visitor {
            cluster,
            job,
            file,
            looked: Cell::new(0),
        };
        visitor.asks_on();
        visitor
    }

    /// Exit code and time in milliseconds of each request.
    fn seen(&self) -> Vec<(String, u64)> {
        let text = self
            .cluster
            .sh("client", &format!("touch {0}; cat {0}", self.file));
        let lines = text.lines().map(|l| l.split_once(' ').unwrap());
        lines
            .map(|(code, at)| (code.to_owned(), at.parse().unwrap()))
            .collect()
    }

    /// Waits for ten more requests.
    pub fn asks_on(&self) {
        let before = self.seen().len();
        let more = || self.seen().len() >= before + 10;
        assert!(wait(more), "the client is stuck");
    }

    /// Prints the longest time without a page since the last call.
    pub fn tell_gap(&self, of: &str) {
        self.asks_on();
        let seen = self.seen();
        let pages = seen[self.looked.get()..].iter().filter(|s| s.0 == "0");
        let times: Vec<u64> = pages.map(|s| s.1).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        println!("{of}: no page for {} ms", gap.unwrap_or_default());
        self.looked.set(seen.len() - 1);
    }

    /// The exit codes of the requests that failed.
    pub fn failed(&self) -> Vec<String> {
        let codes = self.seen().into_iter().map(|s| s.0);
        codes.filter(|code| code != "0").collect()
    }

    /// Ends it. Returns the number of requests, and the exit codes of those that failed.
    pub fn end(self) -> (usize, Vec<String>) {
        let lab = &self.cluster.lab;
        lab.signal("client", -self.job.pid, Signal::SIGKILL)
            .unwrap();
        (self.seen().len(), self.failed())
    }
}
