//! The meta-data of an OCF agent: its parameters, and the deadlines that it advises for its actions.
//!
//! The text comes from an external program. The caller limits its length and the time to get it. Here the number of elements is
//! limited, and texts are made safe for a terminal.

use std::time::Duration;

use crate::text::{one_line, parse_duration};
use roxmltree::{Document, Node, ParsingOptions};

/// The limit on elements and texts. The largest agent of the package has 700.
const MAX_NODES: u32 = 20_000;
/// How many characters of a text are kept.
const MAX_TEXT_CHARS: usize = 2000;
/// A longer advised deadline is ignored as a mistake.
const MAX_ACTION_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// What is used of an agent's meta-data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaData {
    /// A short description of what it manages.
    pub short: String,
    /// The parameters, in the order of the agent.
    pub parameters: Vec<Parameter>,
    /// The actions, in the order of the agent. `monitor` may occur several times.
    pub actions: Vec<Action>,
}

/// One parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, without `OCF_RESKEY_`.
    pub name: String,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it should no longer be used.
    pub deprecated: bool,
    /// Its default value.
    pub default: Option<String>,
    /// A short description.
    pub short: String,
}

/// One action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// The advised deadline.
    pub timeout: Option<Duration>,
    /// The depth of a monitor action; 0 is the usual one.
    pub depth: u32,
}

impl MetaData {
    /// Reads what `meta-data` printed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let start = text.find('<').ok_or("it is not XML")?;
        let options = ParsingOptions {
            allow_dtd: true, // every agent names its document type; nothing is fetched
            nodes_limit: MAX_NODES,
            ..ParsingOptions::default()
        };
        let text = text.get(start..).unwrap_or_default();
        let document = Document::parse_with_options(text, options).map_err(|e| e.to_string())?;
        let root = document.root_element();
        if !root.has_tag_name("resource-agent") {
            let name = plain(root.tag_name().name());
            return Err(format!("it describes a `{name}` and not a resource-agent"));
        }
        let below = |list: &'static str, item: &'static str| {
            let lists = root.children().filter(move |n| n.has_tag_name(list));
            lists
                .flat_map(|l| l.children())
                .filter(move |n| n.has_tag_name(item))
        };
        Ok(MetaData {
            short: short(&root),
            parameters: below("parameters", "parameter")
                .filter_map(|n| parameter(&n))
                .collect(),
            actions: below("actions", "action")
                .filter_map(|n| action(&n))
                .collect(),
        })
    }

    /// The advised deadline of an action; of the monitor action with the lowest depth.
    pub fn timeout(&self, action: &str) -> Option<Duration> {
        let named = self.actions.iter().filter(|a| a.name == action);
        named.min_by_key(|a| a.depth)?.timeout
    }

    /// Whether it has an action.
    pub fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|a| a.name == action)
    }

    /// A parameter by its name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name == name)
    }
}

fn parameter(node: &Node<'_, '_>) -> Option<Parameter> {
    let yes = |name| matches!(node.attribute(name), Some("1" | "true" | "yes"));
    let content = node.children().find(|n| n.has_tag_name("content"));
    let default = content.and_then(|n| n.attribute("default")).map(plain);
    Some(Parameter {
        name: plain(node.attribute("name")?),
        required: yes("required"),
        deprecated: yes("deprecated") || node.children().any(|n| n.has_tag_name("deprecated")),
        default: default.filter(|d| !d.is_empty()),
        short: short(node),
    })
}

fn action(node: &Node<'_, '_>) -> Option<Action> {
    let number = |name| node.attribute(name).and_then(|t| t.parse().ok());
    Some(Action {
        name: plain(node.attribute("name")?),
        timeout: node.attribute("timeout").and_then(time),
        depth: number("depth").unwrap_or(0),
    })
}

/// The text of the element `shortdesc`.
fn short(node: &Node<'_, '_>) -> String {
    let text = node.children().find(|n| n.has_tag_name("shortdesc"));
    text.and_then(|n| n.text()).map(plain).unwrap_or_default()
}

/// One line that is harmless on a terminal.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    one_line(&line, MAX_TEXT_CHARS)
}

/// A number with a unit as cluster managers write it; seconds without.
fn time(text: &str) -> Option<Duration> {
    let time = parse_duration(&text.trim().to_ascii_lowercase())?;
    (!time.is_zero() && time <= MAX_ACTION_TIMEOUT).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMMY: &str = r#"<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Dummy" version="1.0">
<version>1.0</version>
<longdesc lang="en">Long &amp; long.</longdesc>
<shortdesc lang="en">Example stateless
 resource agent</shortdesc>
<parameters>
<parameter name="state" unique="1">
<shortdesc lang="en">State file</shortdesc>
<content type="string" default="/run/Dummy.state" />
</parameter>
<parameter name="device" required="1" deprecated="1"><content type="string" default=""/></parameter>
</parameters>
<actions>
<action name="start" timeout="20s" />
<action name="stop" timeout="1500ms" />
<action name="monitor" timeout="60" interval="10s" depth="20" />
<action name="monitor" timeout="2m" interval="10s" depth="0" />
<action name="promote" timeout="never" />
</actions>
</resource-agent>
"#;

    #[test]
    fn what_the_package_writes_is_understood() {
        let meta = MetaData::parse(DUMMY).unwrap();
        assert_eq!(meta.short, "Example stateless resource agent");
        let state = meta.parameter("state").unwrap();
        assert_eq!(state.default.as_deref(), Some("/run/Dummy.state"));
        assert_eq!(
            (state.required, state.short.as_str()),
            (false, "State file")
        );
        let device = meta.parameter("device").unwrap();
        assert!(device.required && device.deprecated && device.default.is_none());
        assert_eq!(meta.timeout("start"), Some(Duration::from_secs(20)));
        assert_eq!(meta.timeout("stop"), Some(Duration::from_millis(1500)));
        assert_eq!(meta.timeout("monitor"), Some(Duration::from_secs(120)));
        assert!(meta.has("promote"));
        assert_eq!(meta.timeout("promote"), None);
        assert_eq!(meta.timeout("demote"), None);
    }

    #[test]
    fn what_a_program_prints_before_its_description_is_passed_over() {
        let text = format!("warning: no hostname\n{DUMMY}");
        assert_eq!(MetaData::parse(&text), MetaData::parse(DUMMY));
    }

    #[test]
    fn hostile_descriptions_are_refused_and_take_no_time() {
        let deep = "<a>".repeat(20_000);
        let wide = format!("<resource-agent>{}</resource-agent>", "<a/>".repeat(30_000));
        let bomb = format!(
            "<!DOCTYPE r [<!ENTITY a \"{}\">{}]><resource-agent><shortdesc>&j;</shortdesc></resource-agent>",
            "x".repeat(1000),
            ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi", "ij"]
                .map(|p| format!(
                    "<!ENTITY {} \"{}\">",
                    &p[1..],
                    format!("&{};", &p[..1]).repeat(10)
                ))
                .concat()
        );
        let file = "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><resource-agent><shortdesc>&x;</shortdesc></resource-agent>";
        for text in ["", "usage: Dummy", "<a", "<a></a>", &deep, &wide, &bomb] {
            let shown: String = text.chars().take(40).collect();
            assert!(MetaData::parse(text).is_err(), "{shown}");
        }
        assert!(!format!("{:?}", MetaData::parse(file)).contains("root:"));
    }

    #[test]
    fn a_description_cannot_steer_the_terminal() {
        let text =
            "<resource-agent><shortdesc>a&#x9b;31m\u{7f}b\u{202e}</shortdesc></resource-agent>";
        let short = MetaData::parse(text).unwrap().short;
        assert_eq!(short, "a\u{fffd}31m\u{fffd}b\u{fffd}");
    }

    #[test]
    fn advised_times_without_sense_are_none() {
        for text in [
            "0",
            "-1",
            "25h",
            "10 fortnights",
            "",
            "99999999999999999999",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(time(" 20 s"), Some(Duration::from_secs(20)));
        assert_eq!(time("1min"), Some(Duration::from_secs(60)));
    }
}
