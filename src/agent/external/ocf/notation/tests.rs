use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::model::NodeName;

fn token(word: &str) -> Token {
    let mut parts = word.split("::");
    Token {
        text: word.to_owned(),
        name: parts.next().unwrap().to_owned(),
        args: parts.filter(|a| !a.is_empty()).map(str::to_owned).collect(),
    }
}

/// provider, type, file, parameters; or the message.
type Seen = (
    Option<String>,
    String,
    Option<String>,
    Vec<(String, String)>,
);

/// A word and the same, borrowed.
type Row<'s> = (
    &'s str,
    Option<&'s str>,
    &'s str,
    Option<&'s str>,
    &'s [(&'s str, &'s str)],
);

fn seen(word: &str) -> Result<Seen, String> {
    let wanted = parse_word(&token(word)).unwrap().map_err(|m| m.message)?;
    let given = wanted.given.into_iter().map(|g| (g.name, g.value));
    Ok((wanted.provider, wanted.kind, wanted.file, given.collect()))
}

#[test]
fn every_notation_is_read() {
    let none: [(&str, &str); 0] = [];
    let rows: [Row; 11] = [
        (
            "ocf:heartbeat:Dummy",
            Some("heartbeat"),
            "Dummy",
            None,
            &none,
        ),
        (
            "ocf::heartbeat:Dummy",
            Some("heartbeat"),
            "Dummy",
            None,
            &none,
        ),
        ("OCF::Dummy", None, "Dummy", None, &none),
        ("OCF::Dummy::web", None, "Dummy", Some("web"), &none),
        ("ocf:Dummy", None, "Dummy", None, &none),
        ("OCF:linbit:drbd", Some("linbit"), "drbd", None, &none),
        (
            "ocf:heartbeat:nginx::configfile=/etc/n.conf::port=80",
            Some("heartbeat"),
            "nginx",
            None,
            &[("configfile", "/etc/n.conf"), ("port", "80")],
        ),
        (
            "OCF::Dummy::web::state=/run/x",
            None,
            "Dummy",
            Some("web"),
            &[("state", "/run/x")],
        ),
        (
            "ocf:heartbeat:x::url=http://a/?b=c::empty=",
            Some("heartbeat"),
            "x",
            None,
            &[("url", "http://a/?b=c"), ("empty", "")],
        ),
        (
            "ocf:heartbeat:IPv6addr::ipv6addr=fe80::1/64::nic=eth0",
            Some("heartbeat"),
            "IPv6addr",
            None,
            &[("ipv6addr", "fe80::1/64"), ("nic", "eth0")],
        ),
        (
            "ocf:heartbeat:x::a=::1",
            Some("heartbeat"),
            "x",
            None,
            &[("a", "::1")],
        ),
    ];
    for (word, provider, kind, file, given) in rows {
        let given = given
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let expected = (
            provider.map(str::to_owned),
            kind.to_owned(),
            file.map(str::to_owned),
            given.collect(),
        );
        assert_eq!(seen(word), Ok(expected), "{word}");
    }
    for word in ["nginx", "ocfs2", "/opt/ocf:a:b", "systemd::ocf", "lsb:x"] {
        assert!(parse_word(&token(word)).is_none(), "{word}");
    }
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    for (word, at) in [
        ("ocf", None),
        ("ocf::", None),
        ("ocf:heartbeat:", None),
        ("ocf:heartbeat:../../bin/sh", None),
        ("ocf:../x:Dummy", None),
        ("ocf:a:b:c", None),
        ("ocf:heartbeat:Dummy::=x", Some((21, 0))),
        ("ocf:heartbeat:Dummy::a=1::fake", Some((26, 4))),
        ("ocf:heartbeat:Dummy::web::other", Some((26, 5))),
        ("ocf:heartbeat:Dummy::../../etc/passwd", Some((21, 16))),
    ] {
        let mistake = parse_word(&token(word)).unwrap().unwrap_err();
        assert_eq!(mistake.at, at, "{word}: {mistake:?}");
        assert!(mistake.help.is_some(), "{word}");
    }
}

struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, text: &str, mode: u32) -> &Root {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn plan(&self, word: &str) -> Option<Result<Plan, Mistake>> {
        let mut env = ScriptEnv::new(NodeName::new("alice"), self.0.path().join("ha.d"));
        env.ocf_root = self.0.path().join("ocf");
        plan(&token(word), &env)
    }

    fn found(&self, word: &str) -> (String, Vec<(String, String)>) {
        let plan = self.plan(word).unwrap().unwrap();
        let given = plan.given.into_iter().map(|g| (g.name, g.value));
        (format!("{}:{}", plan.provider, plan.kind), given.collect())
    }
}

#[test]
fn agents_are_found_with_the_parameters_of_their_instance() {
    let root = Root::new();
    root.file("ocf/resource.d/heartbeat/Dummy", "#!/bin/sh\n", 0o755)
        .file("ocf/resource.d/linbit/drbd", "#!/bin/sh\n", 0o755)
        .file("ocf/resource.d/acme/Dummy", "#!/bin/sh\n", 0o755)
        .file(
            "ha.d/conf/OCF/Dummy/web",
            "OCF_RESKEY_state='/run/a b'\n",
            0o644,
        );
    assert_eq!(root.found("OCF::Dummy").0, "heartbeat:Dummy");
    assert_eq!(root.found("ocf:acme:Dummy").0, "acme:Dummy");
    assert_eq!(root.found("OCF::drbd").0, "linbit:drbd");
    let (_, given) = root.found("OCF::Dummy::web::fake=1");
    let expected = [("state", "/run/a b"), ("fake", "1")];
    assert_eq!(given, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn what_is_not_there_is_said_with_what_might_be_meant() {
    let root = Root::new();
    let help = |word: &str| {
        let mistake = root.plan(word).unwrap().unwrap_err();
        format!("{} = {}", mistake.message, mistake.help.unwrap_or_default())
    };
    assert!(
        help("ocf:heartbeat:Dummy").ends_with("install the package resource-agents, on every node")
    );
    root.file("ocf/resource.d/heartbeat/Dummy", "#!/bin/sh\n", 0o755)
        .file("ocf/resource.d/linbit/drbd", "#!/bin/sh\n", 0o755);
    assert!(help("ocf:heartbeat:Dumy").ends_with("did you mean `Dummy`?"));
    assert!(help("ocf:heartbeat:drbd").ends_with("did you mean `ocf:linbit:drbd`?"));
    assert!(help("OCF::Dummy::web").starts_with("`web` is neither name=value nor a file"));
    root.file("ocf/resource.d/heartbeat/Open", "", 0o777);
    assert!(help("ocf:heartbeat:Open").contains("can be written by users other than root"));
}

#[test]
fn one_of_heartbeats_names_is_its_script_or_else_the_agent() {
    let root = Root::new();
    root.file("ocf/resource.d/heartbeat/LVM", "#!/bin/sh\n", 0o755);
    let (agent, given) = root.found("LVM::vg0");
    assert_eq!(agent, "heartbeat:LVM");
    assert_eq!(given, [("volgrpname".to_owned(), "vg0".to_owned())]);
    assert!(root.plan("ServeRAID::1::2").unwrap().is_err());
    root.file("ha.d/resource.d/LVM", "#!/bin/sh\n", 0o755).file(
        "ha.d/resource.d/ServeRAID",
        "#!/bin/sh\n",
        0o755,
    );
    assert!(root.plan("LVM::vg0").is_none());
    assert!(root.plan("ServeRAID::1::2").is_none());
}

#[test]
fn each_word_has_a_name_of_its_own_that_may_be_a_file() {
    let name = |kind: &str, word: &str| instance_name(kind, &token(word));
    assert_eq!(name("Dummy", "ocf:heartbeat:Dummy"), "Dummy");
    assert_eq!(name("Dummy", "OCF::Dummy::web"), "Dummy_web");
    assert_eq!(name("Xinetd", "Xinetd::echo"), "Xinetd_echo");
    let words = [
        "apache::/etc/a/b",
        "apache::/etc/a_b",
        "apache::/etc/a b",
        "apache",
        "apache::apache",
        "ocf:heartbeat:apache::configfile=/etc/apache",
    ];
    let names: std::collections::BTreeSet<String> =
        words.iter().map(|w| name("apache", w)).collect();
    assert_eq!(names.len(), words.len());
    let secret = name("x", "ocf:heartbeat:x::passwd=hidden");
    assert_eq!(secret, name("x", "ocf:heartbeat:x::passwd=changed"));
    assert!(secret.starts_with("x_passwd____-"), "{secret}");
    let long = name("x", &format!("x::{}", "ü/".repeat(500)));
    assert!(long.len() < 100 && !long.contains('/'), "{long}");
}
