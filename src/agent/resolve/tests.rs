use super::*;
use crate::agent::builtin::drbd::fence::NoPeers;
use crate::agent::exec::testing::write_program;
use crate::model::NodeName;
use crate::sys::netlink::{Link, Route};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["resource.d", "init.d"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Folder(dir)
    }

    fn script(&self, path: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(path);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn resolve(&self, words: &[&str]) -> Result<Vec<ResolvedStep>, Vec<MemberProblem>> {
        self.with_resolver(|resolver| {
            let tokens: Vec<Token> = words.iter().map(|w| token(w)).collect();
            resolver.resolve_group(&tokens)
        })
    }

    fn remarks(&self, word: &str) -> Vec<String> {
        let text = |m: Mistake| format!("{} = {}", m.message, m.help.unwrap_or_default());
        let remarks = self.with_resolver(|resolver| resolver.remarks(&token(word), &[], false));
        let folder = format!("{}/", self.0.path().display());
        let texts = remarks.into_iter().map(text);
        texts.map(|t| t.replace(&folder, "")).collect()
    }

    fn with_resolver<T>(&self, work: impl FnOnce(Resolver<'_>) -> T) -> T {
        let mut env = ScriptEnv::new(NodeName::new("alice"), self.0.path());
        env.init_dir = self.0.path().join("init.d");
        env.run_dir = self.0.path().join("run");
        env.unit_dirs = vec![self.0.path().join("units")];
        env.ocf_root = self.0.path().join("ocf");
        work(Resolver {
            env: Arc::new(env),
            network: &network(),
            netlink: &Netlink::new(),
            peers: &(Arc::new(NoPeers) as Arc<dyn Peers>),
            catalog: &Catalog::default(),
            timeouts: &|_, usual| usual,
            takeover_waits: &|_| None,
        })
    }

    fn what(&self, words: &[&str]) -> Vec<Vec<String>> {
        let steps = self.resolve(words).unwrap_or_else(|p| panic!("{p:?}"));
        steps.into_iter().map(|s| s.what).collect()
    }

    fn problem(&self, word: &str) -> MemberProblem {
        match self.resolve(&[word]) {
            Ok(_) => panic!("{word} is good"),
            Err(mut problems) => problems.remove(0),
        }
    }
}

/// As the reader of haresources takes a word apart.
fn token(word: &str) -> Token {
    let mut parts = word.split("::");
    let name = parts.next().unwrap();
    let is_address = name.starts_with(|c: char| c.is_ascii_digit());
    let args = parts.filter(|a| !a.is_empty()).map(str::to_owned);
    Token {
        text: word.to_owned(),
        name: if is_address { "IPaddr" } else { name }.to_owned(),
        args: if is_address {
            vec![word.to_owned()]
        } else {
            args.collect()
        },
    }
}

fn network() -> Network {
    let eth0 = Link::sample(2, "eth0");
    let route = |destination: &str, prefix| Route {
        destination: destination.parse().unwrap(),
        prefix,
        index: 2,
        metric: 0,
        connected: true,
    };
    Network {
        links: vec![eth0],
        routes: vec![route("10.0.0.0", 24), route("fd00::", 64)],
        addresses: vec![],
    }
}

#[test]
fn runs_of_addresses_become_one_step_each() {
    let folder = Folder::new();
    folder.script("resource.d/nginx", 0o755);
    let words = [
        "10.0.0.5",
        "IPaddr2::10.0.0.6/24/eth0:1",
        "nginx::a::b",
        "10.0.0.7",
        "Delay::3",
    ];
    let steps = folder.resolve(&words).unwrap_or_else(|p| panic!("{p:?}"));
    let members: Vec<_> = steps.iter().map(|s| s.step.members.join(" ")).collect();
    assert_eq!(
        members,
        [
            "10.0.0.5 IPaddr2::10.0.0.6/24/eth0:1",
            "nginx::a::b",
            "10.0.0.7",
            "Delay::3"
        ]
    );
    let kinds: Vec<bool> = steps.iter().map(|s| s.step.addresses).collect();
    assert_eq!(kinds, [true, false, true, false]);
    assert_eq!(steps[0].step.removal, Duration::ZERO);
    assert_eq!(steps[1].step.removal, Duration::ZERO);
    assert_eq!(steps[0].addresses.as_ref().unwrap().list().len(), 2);
    assert_eq!(
        steps[0].what,
        [
            "built-in IPaddr: 10.0.0.5/24 on eth0",
            "built-in IPaddr2: 10.0.0.6/24 on eth0 label eth0:1"
        ]
    );
    let nginx = folder.0.path().join("resource.d/nginx");
    assert_eq!(steps[1].what, [format!("script {} a b", nginx.display())]);
}

#[test]
fn a_built_in_comes_first_then_resource_d_then_init_d() {
    let folder = Folder::new();
    folder.script("resource.d/IPaddr", 0o755);
    folder.script("resource.d/both", 0o755);
    folder.script("init.d/both", 0o755);
    folder.script("init.d/only", 0o755);
    folder.script("resource.d/plain", 0o644);
    folder.script("init.d/plain", 0o755);
    let own = folder.script("own", 0o755);
    let what = folder.what(&[
        "IPaddr::10.0.0.5",
        "both",
        "only",
        "plain",
        own.to_str().unwrap(),
    ]);
    let ends = [
        "on eth0",
        "resource.d/both",
        "init.d/only",
        "init.d/plain",
        "/own",
    ];
    for (what, end) in what.iter().zip(ends) {
        assert!(what[0].ends_with(end), "{what:?} {end}");
    }
}

#[test]
fn what_is_not_found_says_where_it_was_looked_for_and_what_was_meant() {
    let folder = Folder::new();
    folder.script("init.d/nginx", 0o755);
    let problem = folder.problem("ngnix");
    let (resources, init) = (
        folder.0.path().join("resource.d"),
        folder.0.path().join("init.d"),
    );
    assert_eq!(
        problem.message,
        format!(
            "there is no resource `ngnix`: neither a built-in nor a script in {} or {}",
            resources.display(),
            init.display()
        )
    );
    assert_eq!(problem.help.as_deref(), Some("did you mean nginx?"));
    assert_eq!(
        folder.problem("ipaddr::10.0.0.5").help.as_deref(),
        Some("did you mean IPaddr?")
    );
    assert_eq!(folder.problem("postgresql").help, None);
}

#[test]
fn a_service_that_only_systemd_has_and_what_other_packages_brought_gets_the_remedy() {
    let folder = Folder::new();
    fs::create_dir(folder.0.path().join("units")).unwrap();
    fs::write(folder.0.path().join("units/httpd.service"), "").unwrap();
    for (word, help) in [
        (
            "httpd",
            "to use the systemd unit httpd.service, write systemd::httpd",
        ),
        (
            "ldirectord::ldirectord.cf",
            "install the package ldirectord",
        ),
        (
            "LVSSyncDaemonSwap::master",
            "no package has this script any more",
        ),
    ] {
        let given = folder.problem(word).help.unwrap();
        assert!(given.starts_with(help), "{word}: {given}");
    }
}

#[test]
fn an_own_script_with_the_name_of_a_built_in_is_remarked() {
    let folder = Folder::new();
    assert!(folder.remarks("IPaddr::10.0.0.5").is_empty());
    for name in ["IPaddr", "Filesystem", "mysqld", "drbddisk"] {
        folder.script(&format!("resource.d/{name}"), 0o755);
    }
    assert_eq!(
        folder.remarks("IPaddr::10.0.0.5"),
        [
            "IPaddr is the built-in; the script resource.d/IPaddr is not used \
          = to use the script, write resource.d/IPaddr::10.0.0.5; if you do not need it, remove it"
        ]
    );
    assert_eq!(folder.remarks("mysqld").len(), 1);
    // What the packages of heartbeat and DRBD brought does the same as the built-in.
    for (name, text) in [
        ("IPaddr", "#!/bin/sh\nra_execocf $2\n"),
        (
            "drbddisk",
            "#!/bin/bash\n# to be used as resource script by heartbeat\n",
        ),
    ] {
        write_program(&folder.0.path().join("resource.d").join(name), text);
        assert!(folder.remarks(name).is_empty(), "{name}");
    }
}

/// Heartbeat had no resource of that name, so it ran the script.
#[test]
fn an_own_script_named_drbd_is_used() {
    let folder = Folder::new();
    let path = folder.script("resource.d/drbd", 0o755);
    let what = folder.what(&["drbd::r0"]);
    assert_eq!(what, [[format!("script {} r0", path.display())]]);
    let said = folder.remarks("drbd::r0");
    let wanted = "drbd is the script resource.d/drbd, not the built-in drbd";
    assert!(said.len() == 1 && said[0].starts_with(wanted), "{said:?}");
}

#[test]
fn a_script_that_cannot_be_executed_is_refused_and_what_it_lacks_is_named() {
    let folder = Folder::new();
    let path = folder.0.path().join("resource.d/web");
    for (text, wrong) in [
        ("", "is an empty file"),
        ("#!/bin/sh\r\n", "carriage return"),
        ("#!/opt/gone/perl\n", "its interpreter /opt/gone/perl"),
        (
            "#!/bin/sh\n. $HA_FUNCS\n",
            "shellfuncs in line 2, which does not exist",
        ),
        (
            ". /etc/gone.d/functions\n",
            "in line 1, which does not exist",
        ),
    ] {
        write_program(&path, text);
        let problem = folder.problem("web");
        assert!(problem.message.contains(wrong), "{text:?}: {problem:?}");
    }
    // bash goes on without the file.
    write_program(&path, "#!/bin/bash\n. $HA_FUNCS\n");
    folder.what(&["web"]);
    assert!(folder.remarks("web")[0].contains("and goes on without it"));
    // As heartbeat's shell does, ours runs a text without a first line.
    write_program(&path, "echo running\n");
    folder.what(&["web"]);
    assert!(folder.remarks("web").is_empty());
}

#[test]
fn all_problems_of_a_group_come_at_once() {
    let folder = Folder::new();
    folder.script("resource.d/open", 0o777);
    folder.script("resource.d/template", 0o644);
    let words = [
        "10.0.0.5",
        "10.0.0.256",
        "open",
        "template",
        "ocf:heartbeat:nginx",
        "systemd::nginx",
        "/no/such",
    ];
    let problems = folder.resolve(&words).map(|_| ()).unwrap_err();
    let members: Vec<usize> = problems.iter().map(|p| p.member).collect();
    assert_eq!(members, [1, 2, 3, 4, 5, 6]);
    let wanted = [
        "256 is greater than 255",
        "resource.d/open can be written by users other than root (mode 0777)",
        "is not executable (mode 0644)",
        "there is no OCF agent heartbeat:nginx",
        "was not looked up",
        "there is no script /no/such",
    ];
    for (problem, wanted) in problems.iter().zip(wanted) {
        assert!(problem.message.contains(wanted), "{problem:?}");
    }
}

/// A folder with this OCF agent, asked to describe itself.
async fn with_agent(meta: &str, word: &str) -> Result<ResolvedStep, MemberProblem> {
    let folder = Folder::new();
    let path = folder.0.path().join("ocf/resource.d/heartbeat");
    fs::create_dir_all(&path).unwrap();
    let text = format!("#!/bin/sh\necho '{meta}'\n");
    write_program(&path.join("LVM"), &text);
    let mut env = ScriptEnv::new(NodeName::new("alice"), folder.0.path());
    env.ocf_root = folder.0.path().join("ocf");
    let tokens = [token(word)];
    let catalog = Catalog::ask(&tokens, &env).await;
    let resolver = Resolver {
        env: Arc::new(env),
        network: &network(),
        netlink: &Netlink::new(),
        peers: &(Arc::new(NoPeers) as Arc<dyn Peers>),
        catalog: &catalog,
        timeouts: &|_, usual| usual,
        takeover_waits: &|_| None,
    };
    let steps = resolver
        .resolve_group(&tokens)
        .map_err(|mut p| p.remove(0))?;
    Ok(steps.into_iter().next().unwrap())
}

const META: &str = "<resource-agent><parameters><parameter name=\"volgrpname\" required=\"1\"/></parameters>\
    <actions><action name=\"start\" timeout=\"30s\"/><action name=\"stop\" timeout=\"40s\"/></actions></resource-agent>";

#[tokio::test]
async fn an_ocf_agent_has_the_deadlines_that_it_advises_and_storage_is_waited_for() {
    for word in [
        "LVM::vg0",
        "ocf:heartbeat:LVM::volgrpname=vg0",
        "OCF::LVM::volgrpname=vg0",
    ] {
        let found = with_agent(META, word).await.unwrap();
        let (step, what) = (found.step, found.what);
        assert_eq!(what, ["OCF agent heartbeat:LVM volgrpname=vg0"], "{word}");
        assert_eq!(step.start, Duration::from_secs(30), "{word}");
        assert_eq!(step.stop, Duration::from_secs(40), "{word}");
        assert_eq!(step.monitor, Timeouts::default().monitor, "{word}");
        assert_eq!(step.removal, step.stop, "{word}");
    }
}

#[tokio::test]
async fn a_mistake_in_a_parameter_is_marked_in_its_word() {
    let problem = with_agent(META, "ocf:heartbeat:LVM::volgrpnam=vg0").await;
    let problem = problem.err().unwrap();
    assert_eq!(problem.message, "LVM has no parameter `volgrpnam`");
    assert_eq!(problem.help.as_deref(), Some("did you mean `volgrpname`?"));
    assert_eq!(problem.at, Some((19, 9)));
    let problem = with_agent(META, "ocf:heartbeat:LVM").await.err().unwrap();
    assert_eq!(problem.message, "LVM needs the parameter `volgrpname`");
    assert!(
        with_agent("garbage", "ocf:heartbeat:LVM::any=x")
            .await
            .is_ok()
    );
}

#[test]
fn a_shortened_ipv6_address_gets_its_full_form() {
    let problem = Folder::new().problem("IPv6addr::fd00::5/64/eth0");
    assert_eq!(problem.message, "IPv6addr takes one argument, not 2");
    let help = problem.help.unwrap();
    assert!(
        help.ends_with("IPv6addr::fd00:0:0:0:0:0:0:5/64/eth0"),
        "{help}"
    );
    let what = Folder::new().what(&["IPv6addr::fd00:0:0:0:0:0:0:5/64/eth0"]);
    assert_eq!(what, [["built-in IPv6addr: fd00::5/64 on eth0"]]);
}

#[test]
fn a_long_delay_fits_into_its_own_deadline() {
    let steps = Folder::new()
        .resolve(&["Delay::300::1"])
        .unwrap_or_else(|p| panic!("{p:?}"));
    assert!(steps[0].step.start > Duration::from_secs(300));
    assert_eq!(steps[0].step.stop, Timeouts::default().stop);
}

#[test]
fn only_shared_storage_and_what_stands_on_it_is_waited_for() {
    let folder = Folder::new();
    for script in ["nginx", "drbdupper", "postgres"] {
        folder.script(&format!("resource.d/{script}"), 0o755);
    }
    let words = ["nginx", "drbdupper::db", "10.0.0.5", "postgres"];
    let steps = folder.resolve(&words).unwrap_or_else(|p| panic!("{p:?}"));
    let waits: Vec<bool> = steps.iter().map(|s| !s.step.removal.is_zero()).collect();
    assert_eq!(waits, [false, true, false, true]);
}

#[test]
fn a_filesystem_may_rest_on_what_stands_before_it_and_names_what_is_missing() {
    let folder = Folder::new();
    folder.script("resource.d/drbdupper", 0o755);
    folder.script("resource.d/Filesystem", 0o755);
    let disk = "Filesystem::/dev/none1::/tmp::tmpfs2";
    let problem = folder.problem(disk);
    assert_eq!(
        problem.message,
        "this machine knows no file system type `tmpfs2`"
    );
    let disk = "Filesystem::/dev/none1::/tmp";
    let steps = folder.resolve(&[disk]).unwrap_or_else(|p| panic!("{p:?}"));
    let ask = steps[0].missing.as_ref().unwrap();
    assert_eq!(
        ask().as_deref(),
        Some("there is no block device /dev/none1")
    );
    let what = folder.what(&["drbdupper::db", disk]);
    assert_eq!(
        what[1],
        [
            "built-in Filesystem: /dev/none1 on /tmp; note: /dev/none1 does not exist yet; drbdupper::db must provide it"
        ]
    );
}
