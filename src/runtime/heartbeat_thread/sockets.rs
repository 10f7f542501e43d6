//! The heartbeat thread's sockets while it runs: after a change of an interface, and after a reload.

use std::sync::Arc;

use super::HeartbeatLoop;
use crate::engine::Event;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::runtime::engine_handle::NewConfiguration;
use crate::runtime::listeners::Listener;
use crate::runtime::ping::PingNodes;
use crate::runtime::relay::HeartbeatRelay;
use crate::runtime::socket_opener::OpenedSocket;

impl HeartbeatLoop {
    /// Uses a new configuration; false when the engine has ended.
    pub(super) fn reconfigure(&mut self, new: NewConfiguration) -> bool {
        self.authenticator.reconfigure(&new);
        if new.cluster.pings != self.engine.cluster().pings {
            // Answers to the old ones would count for the new ones of the same number.
            self.pings = None;
            self.pings_wanted += 1;
            let (number, cluster) = (self.pings_wanted, new.cluster.clone());
            let replies = Arc::clone(&self.authenticator);
            self.opener
                .open(move || OpenedSocket::Pings(number, PingNodes::open(&cluster, &replies)));
        }
        self.reopen_relay(&new.cluster);
        self.sender
            .reconfigure(&new.cluster, new.hopfudge, new.keys);
        self.warntime = new.cluster.timing.warntime;
        self.lateness.reconfigure(new.cluster.timing);
        self.slow_half.reconfigure(new.cluster.timing);
        self.give_event(Event::Reconfigured(Box::new(new.cluster)))
    }

    /// The old one goes on until the new one is open.
    fn reopen_relay(&mut self, cluster: &Cluster) {
        self.relays_wanted += 1;
        let (number, cluster) = (self.relays_wanted, cluster.clone());
        let (name, media) = (self.cluster_name.clone(), self.media.clone());
        let authenticator = Arc::clone(&self.authenticator);
        self.opener.open(move || {
            let opened = HeartbeatRelay::open(&cluster, &name, &media, &authenticator);
            OpenedSocket::Relay(number, opened)
        });
    }

    /// Uses a socket that was opened.
    pub(super) fn use_opened(&mut self, opened: OpenedSocket) {
        match opened {
            OpenedSocket::Sender(number, opened) => self.sender.use_opened(number, opened),
            OpenedSocket::SenderChecked(number, opened) => {
                self.sender.use_checked(number, opened, &self.opener);
            }
            OpenedSocket::Receiver(place, opened) => {
                let listener = self.listeners.iter_mut().find(|l| l.is_at(&place));
                let (Some(listener), Some(opened)) = (listener, opened) else {
                    return;
                };
                let (level, text) = match listener.use_opened(opened, &self.authenticator) {
                    Ok(true) => (
                        Level::Info,
                        format!("listening on {} again", place.interface()),
                    ),
                    Ok(false) => return,
                    Err(text) => (Level::Warning, format!("{text}; trying again every second")),
                };
                self.out.log(level, text);
            }
            OpenedSocket::Pings(number, _) if number != self.pings_wanted => {}
            OpenedSocket::Pings(_, Ok(pings)) => self.pings = pings,
            OpenedSocket::Relay(number, _) if number != self.relays_wanted => {}
            OpenedSocket::Pings(_, Err(text)) => self.out.log(Level::Error, text),
            OpenedSocket::Relay(_, opened) => self.use_relay(opened),
            OpenedSocket::Networks(networks) => {
                if let Some(relay) = &mut self.relay {
                    relay.use_networks(networks);
                }
            }
        }
    }

    fn use_relay(&mut self, opened: Result<Option<HeartbeatRelay>, String>) {
        self.relay = opened.unwrap_or_else(|text| {
            self.out.log(Level::Error, text);
            None
        });
    }

    /// An interface changed. Where it is a new interface of the same name, its sockets are opened again. False when the engine has
    /// ended.
    pub(super) fn interface_changed(&mut self, name: &str, up: bool) -> bool {
        if up {
            self.sender.reopen(name);
            let on_it = |l: &&Listener| l.interface() == name;
            for listener in self.listeners.iter().filter(on_it) {
                listener.reopen_if_replaced(&self.opener);
            }
        }
        let on_it = self.media.iter().filter(|m| m.interface == name);
        let links: Vec<_> = on_it.map(|m| m.link.clone()).collect();
        links
            .into_iter()
            .all(|link| self.give_event(Event::Carrier { link, up }))
    }
}
