//! `hactl agent test` and the package's own `ocf-tester` agree about the same agents with the same parameters, on real
//! services.

use std::fs;
use std::process::Command;

use had::agent::external::ocf::metadata::MetaData;

use crate::common::HACTL;
use crate::stage::{AGENTS, Loop, Stage};

#[test]
fn the_description_of_every_agent_of_the_package_is_understood() {
    let mut unread = Vec::new();
    let mut read = 0;
    for entry in fs::read_dir(AGENTS).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue; // links to the shell library
        }
        let output = Command::new(entry.path())
            .arg("meta-data")
            .env("OCF_ROOT", "/usr/lib/ocf")
            .output()
            .unwrap();
        // Some are Python programs whose libraries are not installed. They print nothing.
        if output.stdout.is_empty() && !output.status.success() {
            continue;
        }
        match MetaData::parse(&String::from_utf8_lossy(&output.stdout)) {
            Ok(meta) if meta.has("start") && meta.has("stop") && !meta.short.is_empty() => {
                read += 1;
            }
            Ok(meta) => unread.push(format!("{name}: {meta:?}")),
            Err(error) => unread.push(format!("{name}: {error}")),
        }
    }
    assert_eq!(unread, Vec::<String>::new());
    assert!(read > 100, "{read}");
}

#[test]
fn check_finds_a_mistake_in_a_parameter_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "ha.cf",
        "keepalive 1\ndeadtime 5\nnode n1 n2\nbcast lo\nauto_failback off\n",
    );
    write("authkeys", "auth 1\n1 sha1 a-long-enough-key\n");
    write(
        "haresources",
        "# web\nn1 Delay::1 ocf:heartbeat:nginx::port=80::confgifile=/etc/n.conf\nn2 ocf:heartbeat:Filesystem::fstype=ext4 ICP::0::1\n",
    );
    let closed = Command::new("chmod")
        .arg("600")
        .arg(folder.path().join("authkeys"))
        .status();
    assert!(closed.unwrap().success());
    let output = Command::new(HACTL)
        .args(["check", "--node", "n1"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{said}");
    for wanted in [
        "haresources:2:43: nginx has no parameter `confgifile`",
        "= did you mean `configfile`?",
        "haresources:3:4: Filesystem needs the parameter `device` and `directory`",
        "haresources:3:42: ICP is not supported",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in\n{said}");
    }
}

#[test]
fn addresses_routes_and_ports() {
    let stage = Stage::new("ocf-net");
    let address = ["ip=10.0.0.77", "cidr_netmask=24", "nic=eth0"];
    stage.agree(true, "IPaddr2", &address);
    let held = stage.cluster.sh("alice", "ip addr");
    assert!(!held.contains("10.0.0.77"), "left behind: {held}");
    stage.agree(true, "SendArp", &["ip=10.0.0.78", "nic=eth0"]);
    stage.agree(true, "Route", &["destination=10.9.0.0/24", "device=eth0"]);
    // That of Debian 12 leaves its rule behind: it cannot read the output of its iptables. Its monitor does not notice.
    let port = ["protocol=tcp", "portno=9999", "action=block"];
    stage.agree(true, "portblock", &port);
}

#[test]
fn programs_without_a_network() {
    let stage = Stage::new("ocf-small");
    stage.agree(true, "Dummy", &[]);
    stage.agree(true, "Stateful", &[]);
    stage.agree(
        true,
        "anything",
        &["binfile=/bin/sleep", "cmdline_options=1000"],
    );
    let target = stage.file("target", "");
    let link = stage.path().join("link").display().to_string();
    stage.agree(
        true,
        "symlink",
        &[&format!("link={link}"), &format!("target={target}")],
    );
    // It exits with 2 for an unknown action, where the contract wants 3.
    let said = stage.agree(
        false,
        "Delay",
        &["startdelay=0", "stopdelay=0", "mondelay=0"],
    );
    assert!(said.contains("rejects an unknown action: NO"), "{said}");
}

#[test]
fn mail() {
    let stage = Stage::new("ocf-mail");
    // Agents call `mail`. This one stores the mail.
    stage
        .cluster
        .sh("alice", "mount -t tmpfs none /usr/local/bin");
    let keep = "printf '#!/bin/sh\\ncat >> /var/log/mail.kept\\n' > /usr/local/bin/mail; chmod 755 /usr/local/bin/mail";
    stage.cluster.sh("alice", keep);
    stage.agree(true, "MailTo", &["email=root"]);
    let sent = stage.cluster.sh("alice", "cat /var/log/mail.kept");
    assert!(sent.contains("Takeover in progress"), "{sent}");
    assert!(sent.contains("Migrating resource away"), "{sent}");
}

#[test]
fn a_file_system_on_a_loop_device() {
    let stage = Stage::new("ocf-fs");
    let image = stage.path().join("disk.img");
    for command in ["truncate -s 32M", "mkfs.ext4 -q"] {
        let line = format!("{command} {}", image.display());
        let done = Command::new("sh").arg("-c").arg(line).status();
        assert!(done.unwrap().success());
    }
    let device = Loop::on(&image);
    fs::create_dir(stage.path().join("mnt")).unwrap();
    let parameters = [
        format!("device={}", device.0),
        format!("directory={}", stage.path().join("mnt").display()),
        "fstype=ext4".to_owned(),
    ];
    let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
    stage.agree(true, "Filesystem", &parameters);
    let mounts = stage.cluster.sh("alice", "cat /proc/mounts");
    assert!(!mounts.contains(&device.0), "left behind: {mounts}");
}

#[test]
fn nginx() {
    let stage = Stage::new("ocf-nginx");
    stage.file("www/index.html", "hello");
    let config = "pid /run/ocf-nginx.pid;\nerror_log /var/log/ocf-nginx.log;\nevents { }\nhttp { access_log off; server { \
        listen 8080; root @/www; location /nginx_status { stub_status; } } }\n";
    let config = format!("configfile={}", stage.file("nginx.conf", config));
    let url = "status10url=http://localhost:8080/nginx_status";
    stage.agree(
        true,
        "nginx",
        &[&config, "httpd=/usr/sbin/nginx", "port=8080", url],
    );
}

#[test]
fn apache() {
    let stage = Stage::new("ocf-apache");
    stage.file("www/index.html", "hello");
    let modules = "/usr/lib/apache2/modules";
    let config = format!(
        "ServerRoot @\nServerName localhost\nPidFile /run/ocf-apache.pid\nListen 8081\nDocumentRoot @/www\n\
         ErrorLog /var/log/ocf-apache.log\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\nLoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule status_module {modules}/mod_status.so\n<Location /server-status>\nSetHandler server-status\n</Location>\n"
    );
    let config = format!("configfile={}", stage.file("apache.conf", &config));
    let url = "statusurl=http://localhost:8081/server-status";
    stage.agree(true, "apache", &[&config, "httpd=/usr/sbin/apache2", url]);
}

#[test]
fn xinetd() {
    let stage = Stage::new("ocf-xinetd");
    let service = |name: &str, disable: &str| {
        let text = format!(
            "service {name}\n{{\n\tdisable = {disable}\n\ttype = INTERNAL\n\tid = {name}-stream\n\tsocket_type = stream\n\
             \tprotocol = tcp\n\tuser = root\n\twait = no\n}}\n"
        );
        stage.file(name, &text)
    };
    // Without a service it does not start.
    let files = [service("echo", "yes"), service("discard", "no")].join(" ");
    let config = stage.file("xinetd.conf", "defaults\n{\n}\nincludedir /etc/xinetd.d\n");
    stage.cluster.sh(
        "alice",
        &format!("mount -t tmpfs none /etc/xinetd.d; cp {files} /etc/xinetd.d"),
    );
    stage.cluster.sh(
        "alice",
        &format!("xinetd -f {config} -pidfile /run/xinetd.pid"),
    );
    stage.agree(true, "Xinetd", &["service=echo"]);
    let (kept, said) = stage.ours("Xinetd", &["service=none"]);
    assert!(!kept && said.contains("xinetd.d/none not found"), "{said}");
}

/// `ocf-tester` would also promote it, which needs Pacemaker and never ends without. So only our own verdict is tested.
#[test]
fn mysql_is_driven_by_us_alone() {
    let stage = Stage::new("ocf-mysql");
    let config = stage.file("my.cnf", "[mysqld]\nskip-networking\n");
    let data = stage.path().join("db").display().to_string();
    let make = format!(
        "mkdir -p {data} /run/ocf-mysql; chown mysql {data} /run/ocf-mysql; mariadb-install-db --no-defaults \
         --datadir={data} --user=mysql --skip-test-db --auth-root-authentication-method=normal"
    );
    let made = stage.run(&["sh", "-c", &make]);
    assert!(made.success(), "{made:?}");
    let parameters = [
        "binary=/usr/sbin/mariadbd",
        &format!("config={config}"),
        &format!("datadir={data}"),
        "socket=/run/ocf-mysql/sock",
        "pid=/run/ocf-mysql/pid",
        "log=/run/ocf-mysql/log",
        "user=mysql",
        "test_user=root",
        "test_table=mysql.db",
    ];
    let (kept, said) = stage.ours("mysql", &parameters);
    assert!(kept, "{said}");
    assert!(said.contains("has a promoted role"), "{said}");
}

/// `mariadb` requires Pacemaker to promote it. LVM and RAID need support in the kernel, which few test machines have. Without it
/// both testers must report that the agent cannot run.
#[test]
fn what_cannot_run_here_is_said_by_both() {
    let stage = Stage::new("ocf-none");
    let config = format!("config={}", stage.file("my.cnf", "[mysqld]\n"));
    let data = stage.path().join("db").display().to_string();
    stage
        .cluster
        .sh("alice", &format!("mkdir -p {data}; chown mysql {data}"));
    let mariadb = [
        "binary=/usr/sbin/mariadbd",
        &config,
        "node_list=alice",
        &format!("datadir={data}"),
    ];
    stage.agree(false, "mariadb", &mariadb);
    stage.agree(false, "LVM", &["volgrpname=no-such-group"]);
    stage.agree(
        false,
        "Raid1",
        &["raidconf=/nonexistent", "raiddev=/dev/md0"],
    );
}
