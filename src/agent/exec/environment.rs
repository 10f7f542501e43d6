//! The environment of resource scripts: the same variables that heartbeat set, because scripts rely on them.

use std::path::PathBuf;

use tokio::process::Command;

use crate::agent::external::systemd::unit;
use crate::model::NodeName;

/// Search path of scripts. Nothing of the daemon's own environment is passed on.
pub(super) const PATH: &str = "/usr/lib/heartbeat:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/share/heartbeat";

/// The part of the configuration that scripts can see. Their umask is the daemon's own, which must be 022.
#[derive(Clone, Debug)]
pub struct ScriptEnv {
    /// This node.
    pub node: NodeName,
    /// The folder of `ha.cf`; `resource.d` is in it. Usually `/etc/ha.d`.
    pub config_dir: PathBuf,
    /// The folder of the system's own start scripts, `/etc/init.d`.
    pub init_dir: PathBuf,
    /// The folders of systemd's unit files.
    pub unit_dirs: Vec<PathBuf>,
    /// The folder of OCF agents and their library, `/usr/lib/ocf`.
    pub ocf_root: PathBuf,
    /// `/run/had`, which is empty after a boot; its files tell which pseudo resources run.
    pub run_dir: PathBuf,
    /// The working directory of scripts, `/var/lib/had`; `/` if that does not exist.
    pub work_dir: PathBuf,
    /// Directives of ha.cf with their values, defaults included, each once: `HA_<name>`.
    pub directives: Vec<(String, String)>,
    /// `env NAME=value` of ha.cf: `HA_<NAME>`.
    pub env: Vec<(String, String)>,
    /// `logfile`.
    pub logfile: Option<String>,
    /// `debugfile`.
    pub debugfile: Option<String>,
    /// `logfacility`, unless `none`.
    pub logfacility: Option<String>,
    /// `use_logd`.
    pub logd: bool,
    /// `debug`; 0 is off.
    pub debug: u32,
}

impl ScriptEnv {
    /// The usual folders and nothing configured.
    pub fn new(node: NodeName, config_dir: impl Into<PathBuf>) -> Self {
        ScriptEnv {
            node,
            config_dir: config_dir.into(),
            init_dir: "/etc/init.d".into(),
            unit_dirs: unit::FOLDERS.iter().map(PathBuf::from).collect(),
            ocf_root: "/usr/lib/ocf".into(),
            run_dir: "/run/had".into(),
            work_dir: "/var/lib/had".into(),
            directives: Vec::new(),
            env: Vec::new(),
            logfile: None,
            debugfile: None,
            logfacility: None,
            logd: false,
            debug: 0,
        }
    }

    /// The folder `resource.d` of the configuration.
    pub fn resource_dir(&self) -> PathBuf {
        self.config_dir.join("resource.d")
    }

    /// All variables. If a name occurs twice, the later one counts.
    pub fn variables(&self) -> Vec<(String, String)> {
        let dir = self.config_dir.display();
        let ocf = self.ocf_root.display();
        let only_syslog = self.logfacility.is_some();
        let log = |file: &Option<String>| match file {
            Some(path) => path.clone(),
            None if only_syslog => "/dev/null".to_owned(),
            None => String::new(),
        };
        let mut all: Vec<(String, String)> = [
            ("PATH", PATH.to_owned()),
            ("HA_CURHOST", self.node.to_string()),
            ("HA_DIR", dir.to_string()),
            ("HA_FUNCS", format!("{dir}/shellfuncs")),
            ("HA_RCDIR", format!("{dir}/rc.d")),
            ("HA_RESOURCEDIR", format!("{dir}/resource.d")),
            ("HA_DATEFMT", "%Y/%m/%d_%T\t".to_owned()),
            ("HA_LOGFILE", log(&self.logfile)),
            ("HA_DEBUGLOG", log(&self.debugfile)),
            ("HA_LOGD", if self.logd { "yes" } else { "no" }.to_owned()),
            ("HA_BIN", "/usr/lib/heartbeat".to_owned()),
            ("HA_FIFO", "/var/lib/heartbeat/fifo".to_owned()),
            ("HA_DOCDIR", "/usr/share/doc/heartbeat".to_owned()),
            (
                "HAD_SOCKET",
                self.run_dir.join("had.sock").display().to_string(),
            ),
            ("OCF_ROOT", ocf.to_string()),
            ("OCF_AGENTS", format!("{ocf}/resource.d/heartbeat")),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if let Some(facility) = &self.logfacility {
            all.push(("HA_LOGFACILITY".to_owned(), facility.clone()));
        }
        if self.debug > 0 {
            all.push(("HA_debug".to_owned(), self.debug.to_string()));
        }
        if self.has_nice_failback() {
            all.push(("HA_NICEFAILBACK".to_owned(), "yes".to_owned()));
        }
        let configured = self.directives.iter().chain(&self.env);
        all.extend(configured.map(|(name, value)| (format!("HA_{name}"), value.clone())));
        all
    }

    /// `auto_failback on` or `off`, but not `legacy`.
    fn has_nice_failback(&self) -> bool {
        self.directives
            .iter()
            .any(|(name, value)| name == "auto_failback" && value != "legacy")
    }

    /// Sets exactly this environment, and the working directory, on a command.
    pub fn prepare(&self, command: &mut Command) {
        command.env_clear().envs(self.variables());
        let dir = if self.work_dir.is_dir() {
            self.work_dir.as_path()
        } else {
            "/".as_ref()
        };
        command.current_dir(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(env: &ScriptEnv, name: &str) -> Option<String> {
        let all = env.variables();
        all.into_iter().rfind(|(n, _)| n == name).map(|(_, v)| v)
    }

    #[test]
    fn directives_and_env_lines_become_ha_variables() {
        let mut env = ScriptEnv::new(NodeName::new("Alice"), "/etc/ha.d");
        env.directives = vec![
            ("deadtime".into(), "4".into()),
            ("auto_failback".into(), "on".into()),
        ];
        env.env = vec![("STOPRETRYMAX".into(), "3".into())];
        assert_eq!(value(&env, "HA_CURHOST").as_deref(), Some("alice"));
        assert_eq!(value(&env, "HA_deadtime").as_deref(), Some("4"));
        assert_eq!(value(&env, "HA_STOPRETRYMAX").as_deref(), Some("3"));
        assert_eq!(value(&env, "HA_NICEFAILBACK").as_deref(), Some("yes"));
        assert_eq!(
            value(&env, "HA_FUNCS").as_deref(),
            Some("/etc/ha.d/shellfuncs")
        );
    }

    #[test]
    fn without_a_log_file_the_log_is_empty_or_null() {
        let mut env = ScriptEnv::new(NodeName::new("a"), "/etc/ha.d");
        assert_eq!(value(&env, "HA_LOGFILE").as_deref(), Some(""));
        env.logfacility = Some("local0".into());
        assert_eq!(value(&env, "HA_LOGFILE").as_deref(), Some("/dev/null"));
        env.logfile = Some("/var/log/ha-log".into());
        assert_eq!(
            value(&env, "HA_LOGFILE").as_deref(),
            Some("/var/log/ha-log")
        );
        assert_eq!(value(&env, "HA_debug"), None);
    }
}
