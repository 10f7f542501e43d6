//! A machine that stood still for longer than deadtime, and does not know.

use std::process::{Child, Command, Stdio};

use super::database::{has_all, has_nothing};
use crate::client::Client;
use crate::command::until;
use crate::files::ADDRESS;
use crate::network::port;
use crate::pair::Pair;

/// The other one took over. The one that goes on answers for nothing, and writes nothing.
pub fn paused(pair: &mut Pair) {
    let client = Client::start(1);
    client.until_written(3);
    pair.on("test6").pause();
    pair.until_online("test7");
    client.until_written(3);

    let listener = Listener::start(&port("test6", "lan"));
    pair.on("test6").resume();
    pair.until_active("test6");
    pair.until_drbd("test7", "dstate", "UpToDate/UpToDate");
    client.until_written(3);
    let heard = listener.stop();
    client.stop().nothing_is_lost();
    has_all(pair, "test7");
    has_nothing(pair, "test6");
    // Its clock stood still with it, so it does not know, and its kernel answers until the daemon hears of the other: a
    // moment that only somebody outside could take from it.
    assert_eq!(
        heard, "",
        "the machine that stood still spoke for {ADDRESS}"
    );
}

/// Hears what comes out of a machine for the address.
struct Listener(Child);

impl Listener {
    fn start(port: &str) -> Listener {
        let sent = format!("src host {ADDRESS} or (arp and arp[14:4] == 0x0a0158c7)");
        let mut command = Command::new("tcpdump");
        command.args(["-l", "-n", "-Q", "in", "-i", port, &sent]);
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
        std::fs::read_to_string("heard").unwrap()
    }
}
