//! What is laid over the root image of a guest: our programs, the configuration of our first users, and DRBD's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::command::run;
use crate::network::{NAMES, cards};

/// The address of the seeds.
pub const ADDRESS: &str = "10.1.88.199";
const HOSTS: &str = "127.0.0.1 localhost\n10.1.88.175 test6\n10.1.88.179 test7\n";
const AUTHKEYS: &str = "auth 1\n1 crc\n";

/// The configuration of DRBD: as our first users', with short times of its own and our handler.
const DRBD: &str = r#"resource db {
    handlers {
        fence-peer "/usr/sbin/hactl drbd fence-peer";
    }
    net {
        protocol C;
        ping-int 2; ping-timeout 20; timeout 60; connect-int 2;
        cram-hmac-alg "sha1";
        shared-secret "MySQL-HA";
    }
    disk {
        on-io-error detach;
        fencing resource-and-stonith;
        resync-rate 200M; c-max-rate 400M; c-fill-target 1M;
    }
    device /dev/drbd1;
    disk /dev/vdc;
    meta-disk internal;
    on test6 { address 10.1.88.175:7788; }
    on test7 { address 10.1.88.179:7788; }
}
"#;
const DRBD_GLOBAL: &str = "global { usage-count no; }\ncommon { }\n";

const MY_CNF: &str = "[mysqld]
datadir=/database/mysql
socket=/run/mysqld/mysqld.sock
pid-file=/run/mysqld/mysqld.pid
user=mysql
bind-address=0.0.0.0
skip-name-resolve
performance-schema=OFF
innodb-buffer-pool-size=16M
innodb-log-file-size=8M
key-buffer-size=1M
[client]
socket=/run/mysqld/mysqld.sock
";

/// The other one.
pub fn peer_of(name: &str) -> &'static str {
    if name == NAMES[0] { NAMES[1] } else { NAMES[0] }
}

/// A card's address without its prefix.
pub fn address_of(name: &str, card: usize) -> &'static str {
    cards(name)[card].split('/').next().unwrap()
}

/// The ha.cf of the seeds, on one node: its comments are left out, its words are not. `more` are further lines.
pub fn ha_cf(name: &str, more: &str) -> String {
    format!(
        "debugfile /var/log/ha-debug\nlogfile /var/log/ha-log\nlogfacility local0\n\
         keepalive 2\ndeadtime 10\nwarntime 5\ninitdead 120\nudpport 694\n\
         ucast eth0 {}\nauto_failback off\nnode    test6\nnode    test7\nping 10.1.88.254\n\
         respawn hacluster /usr/lib/heartbeat/ipfail\napiauth ipfail gid=haclient uid=hacluster\n{more}",
        address_of(peer_of(name), 0)
    )
}

/// What differs between settings: all of haresources, further lines of ha.cf, further files by their paths.
pub struct Extra {
    pub haresources: &'static str,
    pub ha_cf: &'static str,
    pub files: &'static [(&'static str, &'static str)],
}

/// A folder to be laid over the root image of a machine.
pub fn lay(name: &str, extra: &Extra) -> PathBuf {
    let home = PathBuf::from(format!("files-{name}"));
    drop(fs::remove_dir_all(&home));
    fs::create_dir_all(home.join("work")).unwrap();
    let upper = home.join("upper");
    let write = |path: &str, text: &str| write(&upper.join(path), text, 0o644);
    let [lan, ha] = cards(name);
    write(
        "etc/guest.env",
        &format!("HOST={name}\nCARDS=\"eth0={lan} eth1={ha}\"\n"),
    );
    write("etc/hostname", &format!("{name}\n"));
    write("etc/hosts", HOSTS);
    write("etc/drbd.d/global_common.conf", DRBD_GLOBAL);
    write("etc/drbd.d/db.res", DRBD);
    write("etc/mysql/my.cnf", MY_CNF);
    write("etc/ha.d/ha.cf", &ha_cf(name, extra.ha_cf));
    write("etc/ha.d/haresources", extra.haresources);
    for (path, text) in extra.files {
        let program = text.starts_with("#!");
        self::write(&upper.join(path), text, if program { 0o755 } else { 0o644 });
    }
    self::write(&upper.join("etc/ha.d/authkeys"), AUTHKEYS, 0o600);
    fs::create_dir(upper.join("database")).unwrap();
    for (program, path) in programs() {
        let place = upper.join("usr/sbin").join(program);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(path, place).unwrap();
    }
    home
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Ours, without what only a debugger reads.
fn programs() -> [(&'static str, &'static str); 2] {
    static STRIPPED: Once = Once::new();
    STRIPPED.call_once(|| {
        run("strip", &["-o", "had", env!("CARGO_BIN_EXE_had")]);
        run("strip", &["-o", "hactl", env!("CARGO_BIN_EXE_hactl")]);
    });
    [("had", "had"), ("hactl", "hactl")]
}
