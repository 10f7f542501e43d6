//! What to do with files that were written: copy them to the nodes, check them, and start the daemon.

use std::net::IpAddr;
use std::path::Path;

use had::sys::own_address::is_own;

/// What to copy where, and what to run then. `services` are those that must not start by themselves.
pub fn next_steps(
    out: &Path,
    nodes: &[(String, IpAddr)],
    names: &[&str],
    services: &[&str],
) -> String {
    let from = format!("{}/{{{}}}", shell_path(out), names.join(","));
    let mut text = "Next, as root:\n".to_owned();
    let daemon = Daemon::of(out);
    let etc = Path::new("/etc/ha.d");
    let here = nodes.iter().any(|(_, address)| is_own(*address));
    if here && daemon.instance.is_none() && out != etc {
        text += &format!("  mkdir -p {0} && cp -rp {from} {0}/\n", etc.display());
    }
    if daemon.instance.is_some() {
        text += "  # In ha.cf, above all ucast lines: udpport and a number, such as 695, that no other cluster of these machines has\n";
    }
    for (name, address) in nodes.iter().filter(|(_, address)| !is_own(*address)) {
        let at = match address {
            IpAddr::V4(_) => address.to_string(),
            IpAddr::V6(_) => format!("[{address}]"),
        };
        text += &match daemon.instance {
            None => format!("  scp -rp {from} root@{at}:{}/   # {name}\n", etc.display()),
            Some(_) => format!("  scp -rp {} root@{at}:/etc/   # {name}\n", out.display()),
        };
    }
    let check = format!("hactl check{}", daemon.folder());
    text += &format!("  {check:<26}   # on each node: go on only if there are no errors\n");
    for service in services {
        text += &format!(
            "  systemctl disable --now {service}   # on each node that has this unit, before had is started\n"
        );
    }
    let unit = daemon.unit();
    text + &format!(
        "  systemctl enable --now {unit}   # on each node\n  hactl {}status\n",
        daemon.socket()
    )
}

/// The daemon that reads a folder: `had`, or `had@NAME` if the folder is the one of that unit.
struct Daemon<'a> {
    /// The name of the unit's instance.
    instance: Option<&'a str>,
}

impl<'a> Daemon<'a> {
    fn of(folder: &'a Path) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = folder.to_str().and_then(|f| f.strip_prefix("/etc/ha.d-"));
        let instance = name.filter(|n| !n.is_empty() && n.chars().all(plain));
        Daemon { instance }
    }

    fn unit(&self) -> String {
        self.instance
            .map_or_else(|| "had".to_owned(), |name| format!("had@{name}"))
    }

    /// As an argument of `hactl check`.
    fn folder(&self) -> String {
        self.instance
            .map_or_else(String::new, |name| format!(" /etc/ha.d-{name}"))
    }

    /// As an option of hactl.
    fn socket(&self) -> String {
        self.instance.map_or_else(String::new, |name| {
            format!("--socket /run/had-{name}/had.sock ")
        })
    }
}

/// A path as one word of a shell, which no program reads as an option or as a path on another host.
fn shell_path(path: &Path) -> String {
    let text = path.display().to_string();
    let text = match text.strip_prefix('/') {
        None if text.starts_with('-') || text.contains(':') => format!("./{text}"),
        _ => text,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:=@%+,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_further_cluster_has_a_daemon_of_its_own() {
        let nodes = [("bob".to_owned(), "10.0.0.2".parse().unwrap())];
        let text = next_steps(Path::new("/etc/ha.d-web"), &nodes, &["ha.cf"], &[]);
        for wanted in [
            "udpport",
            "  scp -rp /etc/ha.d-web root@10.0.0.2:/etc/   # bob\n",
            "  hactl check /etc/ha.d-web ",
            "  systemctl enable --now had@web   #",
            "  hactl --socket /run/had-web/had.sock status\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
        }
        for other in ["/etc/ha.d", "/etc/ha.d-", "/etc/ha.d-a/b", "/srv/ha.d-web"] {
            assert_eq!(Daemon::of(Path::new(other)).unit(), "had", "{other}");
        }
    }
}
