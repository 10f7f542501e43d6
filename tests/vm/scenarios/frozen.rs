//! A machine that stood still for longer than deadtime, and does not know.

use std::process::{Child, Command, Stdio};

use super::database::{has_all, has_nothing};
use crate::client::Client;
use crate::command::{until, until_so};
use crate::files::ADDRESS;
use crate::network::port;
use crate::pair::Pair;

/// The other one took over, and keeps it. The one that goes on gives way as soon as it hears of that, announces nothing, and
/// writes nothing.
///
/// Its clock stood still with it, so nothing in it can know before: until then its kernel answers what reaches it, which only
/// somebody outside could take from it.
pub fn paused(pair: &mut Pair) {
    let client = Client::start(1);
    client.until_written(3);
    pair.on("test6").pause();
    pair.until_online("test7");
    client.until_written(3);

    let listener = Listener::start(&port("test6", "lan"));
    pair.on("test6").resume();
    let gave_way =
        "grep -F 'took it over while this machine and its clock were suspended' /var/log/ha-log";
    until_so("test6 gives way", || {
        pair.on("test6").run(gave_way).code == 0
    });
    until_so("its address is gone", || {
        let gone = format!("! ip -o addr | grep -F {ADDRESS}");
        pair.on("test6").run(&gone).code == 0
    });
    let before = heard();
    println!(
        "    before it heard of the other: {} packets",
        before.lines().count()
    );
    pair.until_active("test6");
    pair.until_drbd("test7", "dstate", "UpToDate/UpToDate");
    client.until_written(3);
    let all = listener.stop();
    // A kernel sends the end of a broken connection again and again, although the address is gone. It owns nothing by that.
    let after = all.strip_prefix(&before).unwrap();
    let speaks = after.contains("ARP") || after.contains("[S.]");
    assert!(!speaks, "it speaks for {ADDRESS} again: {after}");
    assert!(!before.contains("Broadcast"), "it announced it: {before}");
    let record = client.stop();
    println!("    longest gap {:?}", record.longest_gap());
    record.nothing_is_lost();
    has_all(pair, "test7");
    has_nothing(pair, "test6");
    let stops = pair
        .on("test7")
        .run("grep -F 'stopping here' /var/log/ha-log");
    assert_eq!(stops.stdout, "", "the new owner keeps it");
}

/// Hears what comes out of a machine for the address.
struct Listener(Child);

impl Listener {
    fn start(port: &str) -> Listener {
        let sent = format!("src host {ADDRESS} or (arp and arp[14:4] == 0x0a0158c7)");
        let mut command = Command::new("tcpdump");
        command.args([
            "-l",
            "--immediate-mode",
            "-n",
            "-e",
            "-Q",
            "in",
            "-i",
            port,
            &sent,
        ]);
        let child = command
            .stdin(Stdio::null())
            .stdout(std::fs::File::create("heard").unwrap())
            .stderr(std::fs::File::create("heard.err").unwrap())
            .spawn()
            .unwrap();
        until("tcpdump listens", || {
            let said = std::fs::read_to_string("heard.err").unwrap();
            said.contains("listening").then_some(())
        });
        Listener(child)
    }

    fn stop(mut self) -> String {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
        heard()
    }
}

/// So far.
fn heard() -> String {
    std::fs::read_to_string("heard").unwrap()
}
