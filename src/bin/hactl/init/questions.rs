//! Asks for what the options of `hactl init` leave out. Each answer is checked, and asked for again if it cannot be used.

use std::io::{BufRead, Write};
use std::net::IpAddr;

use had::setup::answers;
use had::text::printable_lines;

/// Somebody who answers, line by line.
pub struct Questions<R, W> {
    input: R,
    output: W,
}

impl<R: BufRead, W: Write> Questions<R, W> {
    /// Reads answers there, and shows questions there.
    pub fn new(input: R, output: W) -> Self {
        Questions { input, output }
    }

    /// Asks until the answer can be used.
    ///
    /// # Errors
    /// There are no more answers.
    fn ask<T>(
        &mut self,
        question: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        let gone = |_| "the terminal is gone; nothing was written".to_owned();
        loop {
            write!(self.output, "{question}: ").map_err(gone)?;
            self.output.flush().map_err(gone)?;
            let mut line = String::new();
            if self.input.read_line(&mut line).map_err(gone)? == 0 {
                return Err("no answer; nothing was written".to_owned());
            }
            match read(line.trim()) {
                Ok(answer) => return Ok(answer),
                Err(why) => {
                    writeln!(self.output, "  {}", printable_lines(&why)).map_err(gone)?;
                }
            }
        }
    }

    /// At least two nodes, beginning with those that are known.
    pub fn nodes(
        &mut self,
        mut nodes: Vec<(String, IpAddr)>,
    ) -> Result<Vec<(String, IpAddr)>, String> {
        if nodes.len() >= 2 {
            return Ok(nodes);
        }
        loop {
            let question = match nodes.len() {
                0 => {
                    "First node, as its `uname -n` prints it, and its address, such as alice=10.0.0.1"
                }
                1 => "Second node, such as bob=10.0.0.2",
                _ => "Another node, or nothing",
            };
            let known = nodes.clone();
            let answer = self.ask(question, |text| read_node(text, &known))?;
            match answer {
                Some(node) => nodes.push(node),
                None => return Ok(nodes),
            }
        }
    }

    /// The interface; nothing means the one that was found.
    pub fn interface(&mut self, found: Option<&str>) -> Result<String, String> {
        let question = match found {
            Some(name) => format!("Interface of these addresses [{name}]"),
            None => "Interface of these addresses, such as eth0".to_owned(),
        };
        self.ask(&question, |text| match (found, text) {
            (Some(name), "") => Ok(name.to_owned()),
            _ => answers::interface(text),
        })
    }

    /// The virtual address, as a word of haresources.
    pub fn address(
        &mut self,
        interface: &str,
        nodes: &[(String, IpAddr)],
    ) -> Result<String, String> {
        let question =
            "The address that moves between them, with its prefix length, such as 10.0.0.100/24";
        self.ask(question, |text| {
            let word = answers::virtual_address(text, interface)?;
            let own = nodes
                .iter()
                .find(|(_, a)| answers::address_of(&word) == Some(*a));
            match own {
                Some((name, _)) => Err(format!("that is the address of {name}, which never moves")),
                None => Ok(word),
            }
        })
    }

    /// The ping node of a pair, if it has one.
    pub fn ping(&mut self) -> Result<Option<IpAddr>, String> {
        let question = "Ping node, best the gateway: its vote decides when the nodes do not hear each other (or nothing)";
        self.ask(question, |text| match text {
            "" => Ok(None),
            _ => answers::machine_address(text).map(Some),
        })
    }

    /// What runs with the address.
    pub fn resources(&mut self) -> Result<Vec<String>, String> {
        let question = "What runs there with the address, such as systemd::nginx (or nothing)";
        self.ask(question, |text| {
            text.split_whitespace()
                .map(answers::resource_word)
                .collect()
        })
    }
}

/// A node that is not one of the known; nothing once there are two.
fn read_node(text: &str, known: &[(String, IpAddr)]) -> Result<Option<(String, IpAddr)>, String> {
    if text.is_empty() && known.len() >= 2 {
        return Ok(None);
    }
    let node = super::one_node(text)?;
    let all: Vec<_> = known.iter().cloned().chain([node.clone()]).collect();
    if !known.is_empty() {
        super::judge_nodes(&all)?;
    }
    Ok(Some(node))
}
