//! The names of heartbeat's own resource scripts. Most of them only passed their arguments as parameters to the OCF agent of
//! the same name. So do we, unless `resource.d` has a script of that name.

use crate::agent::exec::environment::ScriptEnv;
use crate::agent::external::ocf::notation::{Given, Wanted};
use crate::model::token::Token;
use crate::text::Mistake;

/// How the arguments of a script become parameters of its agent.
struct ScriptForm {
    name: &'static str,
    /// The arguments, for an administrator.
    usage: &'static str,
    min_args: usize,
    /// The parameter of each argument.
    parameters: &'static [&'static str],
    /// Whether all arguments, joined with blanks, are one parameter.
    list: bool,
}

/// The scripts that were only wrappers.
const FORMS: [ScriptForm; 12] = [
    ScriptForm {
        list: true,
        ..form("AudibleAlarm", "[::node::node...]", 0, &["nodelist"])
    },
    form("IPsrcaddr", "::address", 1, &["ipaddress"]),
    form("LVM", "::volumegroup", 1, &["volgrpname"]),
    form("LinuxSCSI", "::host:channel:target[:lun]", 1, &["scsi"]),
    form(
        "MailTo",
        "::address[,address][::subject]",
        1,
        &["email", "subject"],
    ),
    form("Raid1", "::configfile::device", 2, &["raidconf", "raiddev"]),
    form("WAS", "[::configfile or port]", 0, &["config"]),
    form("Xinetd", "::service", 1, &["service"]),
    form("apache", "[::configfile]", 0, &["configfile"]),
    form("db2", "::instance-owner", 1, &["instance"]),
    form(
        "ids",
        "[::directory::server::onconfig]",
        0,
        &["informixdir", "informixserver", "onconfig"],
    ),
    form(
        "portblock",
        "::tcp or udp::port[,port]::block or unblock",
        3,
        &["protocol", "portno", "action"],
    ),
];

const fn form(
    name: &'static str,
    usage: &'static str,
    min_args: usize,
    parameters: &'static [&'static str],
) -> ScriptForm {
    ScriptForm {
        name,
        usage,
        min_args,
        parameters,
        list: false,
    }
}

/// Scripts for obsolete technology: the name, what it did, and what to use instead.
const OBSOLETE: [(&str, &str, &str); 4] = [
    (
        "ICP",
        "it switched drives of ICP Vortex RAID controllers, which are no longer made and have no driver in Linux since 5.10",
        "share the disk with drbddisk, or an iSCSI or SAN volume with LVM",
    ),
    (
        "ServeRAID",
        "it switched merge groups of IBM ServeRAID controllers, which are no longer made",
        "share the disk with drbddisk, or an iSCSI or SAN volume with LVM",
    ),
    (
        "WinPopup",
        "it sent messages to the Messenger service of Windows, which was removed in Windows Vista",
        "use MailTo::address",
    ),
    (
        "hto-mapfuncs",
        "it is a library of heartbeat's scripts, not a resource",
        "remove the word",
    ),
];

/// Scripts that how-tos name and other packages brought: the name, and where to get them or what to write instead.
const ORIGINS: [(&str, &str); 3] = [
    (
        "ldirectord",
        "install the package ldirectord (Debian: ldirectord, Red Hat: ldirectord of the High Availability repository), \
         which has the script, or write ocf:heartbeat:ldirectord::configfile=/etc/ha.d/ldirectord.cf",
    ),
    (
        "LVSSyncDaemonSwap",
        "no package has this script any more: write one in resource.d whose start runs `ipvsadm --stop-daemon backup` and \
         `ipvsadm --start-daemon master`, and whose stop runs the reverse; ipvsadm is in the package of that name",
    ),
    (
        "drbdupper",
        "it comes with drbd-utils (Debian: /etc/ha.d/resource.d/drbdupper); for one DRBD resource write drbddisk::RESOURCE",
    ),
];

/// Where a script of that name comes from, or what to use instead.
pub fn origin(name: &str) -> Option<&'static str> {
    let known = ORIGINS.iter().find(|(known, _)| *known == name);
    known.map(|(_, origin)| *origin)
}

/// Whether `resource.d` has a script of that name, which then is used.
pub fn is_script(token: &Token, env: &ScriptEnv) -> bool {
    let name = &token.name;
    !name.is_empty() && !name.contains('/') && env.resource_dir().join(name).is_file()
}

/// The OCF agent behind one of heartbeat's names, or why there is none. `None` for other names.
pub fn ocf_agent(token: &Token) -> Option<Result<Wanted, Mistake>> {
    if let Some((name, was, instead)) = OBSOLETE.iter().find(|(name, ..)| *name == token.name) {
        let message = format!("{name} is not supported: {was}");
        return Some(Err(Mistake::new(message).help(*instead)));
    }
    let form = FORMS.iter().find(|f| f.name == token.name)?;
    Some(form.apply(&token.args))
}

/// Heartbeat's names that still work, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|f| f.name)
}

impl ScriptForm {
    fn apply(&self, args: &[String]) -> Result<Wanted, Mistake> {
        let incomplete = self.name == "ids" && !args.is_empty() && args.len() < 3;
        let too_many = args.len() > self.parameters.len() && !self.list;
        if args.len() < self.min_args || incomplete || too_many {
            let message = format!("{} does not take {} arguments", self.name, args.len());
            let help = format!("the form is {}{}", self.name, self.usage);
            return Err(Mistake::new(message).help(help));
        }
        let values = match self.list {
            true if args.is_empty() => Vec::new(),
            true => vec![args.join(" ")],
            false => args.to_vec(),
        };
        let given = self
            .parameters
            .iter()
            .zip(values)
            .map(|(name, value)| Given {
                name: self.parameter_name(name, &value).to_owned(),
                value,
                at: None,
            });
        Ok(Wanted {
            provider: Some("heartbeat".to_owned()),
            kind: self.name.to_owned(),
            file: None,
            given: given.collect(),
        })
    }

    /// The argument of `WAS` is a file or a port.
    fn parameter_name<'n>(&self, name: &'n str, value: &str) -> &'n str {
        let port = self.name == "WAS" && value.bytes().all(|b| b.is_ascii_digit());
        if port { "port" } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(word: &str) -> Token {
        let mut parts = word.split("::");
        Token {
            text: word.to_owned(),
            name: parts.next().unwrap().to_owned(),
            args: parts.map(str::to_owned).collect(),
        }
    }

    fn parameters(word: &str) -> Result<Vec<(String, String)>, Mistake> {
        let wanted = ocf_agent(&token(word)).unwrap()?;
        Ok(wanted
            .given
            .into_iter()
            .map(|g| (g.name, g.value))
            .collect())
    }

    #[test]
    fn arguments_become_the_parameters_that_heartbeats_scripts_made_of_them() {
        for (word, expected) in [
            ("AudibleAlarm", vec![]),
            ("AudibleAlarm::n1::n2", vec![("nodelist", "n1 n2")]),
            ("IPsrcaddr::10.0.0.1", vec![("ipaddress", "10.0.0.1")]),
            ("LVM::vg0", vec![("volgrpname", "vg0")]),
            ("LinuxSCSI::0:0:1", vec![("scsi", "0:0:1")]),
            ("MailTo::a@b,c@d", vec![("email", "a@b,c@d")]),
            (
                "MailTo::a@b::Subject",
                vec![("email", "a@b"), ("subject", "Subject")],
            ),
            (
                "Raid1::/etc/mdadm.conf::/dev/md0",
                vec![("raidconf", "/etc/mdadm.conf"), ("raiddev", "/dev/md0")],
            ),
            ("WAS", vec![]),
            ("WAS::/opt/was.cfg", vec![("config", "/opt/was.cfg")]),
            ("WAS::9080", vec![("port", "9080")]),
            ("Xinetd::echo", vec![("service", "echo")]),
            ("apache", vec![]),
            (
                "apache::/etc/httpd.conf",
                vec![("configfile", "/etc/httpd.conf")],
            ),
            ("db2::db2inst1", vec![("instance", "db2inst1")]),
            ("ids", vec![]),
            (
                "ids::/ifx::srv::onc",
                vec![
                    ("informixdir", "/ifx"),
                    ("informixserver", "srv"),
                    ("onconfig", "onc"),
                ],
            ),
            (
                "portblock::tcp::80,443::block",
                vec![
                    ("protocol", "tcp"),
                    ("portno", "80,443"),
                    ("action", "block"),
                ],
            ),
        ] {
            let expected = expected
                .into_iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()));
            assert_eq!(parameters(word), Ok(expected.collect()), "{word}");
        }
    }

    #[test]
    fn arguments_that_heartbeat_refused_are_refused_with_the_form() {
        for (word, form) in [
            ("LVM", "LVM::volumegroup"),
            ("MailTo", "MailTo::address[,address][::subject]"),
            ("MailTo::a::b::c", "MailTo::address"),
            ("portblock::tcp::80", "portblock::tcp or udp"),
            ("ids::/ifx", "ids[::directory"),
            ("apache::a::b", "apache[::configfile]"),
        ] {
            let mistake = parameters(word).unwrap_err();
            assert!(mistake.message.contains("does not take"), "{word}");
            let help = mistake.help.unwrap();
            assert!(
                help.starts_with(&format!("the form is {form}")),
                "{word}: {help}"
            );
        }
    }

    #[test]
    fn what_is_gone_is_refused_by_name_with_what_to_use() {
        for (word, instead) in [
            ("ICP::0::/dev/sda", "drbddisk"),
            ("ServeRAID::1::1", "drbddisk"),
            ("WinPopup", "MailTo"),
        ] {
            let mistake = parameters(word).unwrap_err();
            let name = word.split("::").next().unwrap();
            assert!(
                mistake
                    .message
                    .starts_with(&format!("{name} is not supported"))
            );
            assert!(mistake.help.unwrap().contains(instead), "{word}");
        }
        assert!(ocf_agent(&token("nginx")).is_none());
    }
}
