//! Which interfaces come, go, and change their carrier.

use std::collections::BTreeMap;

use super::heartbeat_thread::{EngineHandle, Input};
use crate::sys::netlink::{self, Change, Link, Netlink};

/// Tells the heartbeat thread, until it has ended. Where the kernel had more to say than we could hear it looks at all of
/// them: an interface may have been made anew meanwhile, and sockets on the old one are deaf.
pub async fn tell(netlink: Netlink, engine: EngineHandle) {
    let mut known = Known::default();
    let mut changes = netlink::watch();
    while let Some(change) = changes.recv().await {
        let news = match change {
            Change::Link(link) => known.seen(&link),
            Change::LinkRemoved(link) => known.gone(&link.name),
            Change::AddressAdded(_) | Change::AddressRemoved(_) => continue,
            Change::Resync => match netlink.links().await {
                Ok(links) => known.looked(&links),
                Err(error) => {
                    tracing::warn!(%error, "cannot list the interfaces after missed changes");
                    continue;
                }
            },
        };
        for (name, up) in news {
            engine.tell(Input::Interface { name, up });
        }
    }
}

/// Interfaces by name, and whether heartbeats can pass.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, bool>);

/// What there is to tell.
type News = Vec<(String, bool)>;

impl Known {
    fn seen(&mut self, link: &Link) -> News {
        self.set(&link.name, link.up && link.carrier)
    }

    fn gone(&mut self, name: &str) -> News {
        self.set(name, false)
    }

    fn set(&mut self, name: &str, up: bool) -> News {
        let news = (name.to_owned(), up);
        if self.0.insert(name.to_owned(), up) == Some(up) {
            return News::new();
        }
        vec![news]
    }

    /// After a look at all of them. What is there is told even when it seems the same: it may be another by that name.
    fn looked(&mut self, links: &[Link]) -> News {
        let there = |name: &String| links.iter().any(|l| l.name == *name);
        let missing: Vec<String> = self.0.keys().filter(|n| !there(n)).cloned().collect();
        let gone: Vec<_> = missing.iter().flat_map(|n| self.gone(n)).collect();
        let seen = links.iter().map(|l| (l.name.clone(), l.up && l.carrier));
        let news: News = gone.into_iter().chain(seen).collect();
        self.0 = links
            .iter()
            .map(|l| (l.name.clone(), l.up && l.carrier))
            .collect();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, carrier: bool) -> Link {
        Link {
            index: 1,
            name: name.into(),
            mac: None,
            up: true,
            carrier,
            arp: true,
        }
    }

    fn told(news: &News) -> Vec<(&str, bool)> {
        news.iter().map(|(n, up)| (n.as_str(), *up)).collect()
    }

    #[test]
    fn only_changes_are_told() {
        let mut known = Known::default();
        assert_eq!(told(&known.seen(&link("a", true))), [("a", true)]);
        assert_eq!(told(&known.seen(&link("a", true))), []);
        assert_eq!(told(&known.seen(&link("a", false))), [("a", false)]);
        assert_eq!(told(&known.gone("a")), []);
    }

    #[test]
    fn after_missed_changes_everything_is_told_and_what_is_missing_is_gone() {
        let mut known = Known::default();
        known.seen(&link("a", true));
        known.seen(&link("b", true));
        let news = known.looked(&[link("a", true), link("c", false)]);
        assert_eq!(told(&news), [("b", false), ("a", true), ("c", false)]);
        assert_eq!(told(&known.seen(&link("b", true))), [("b", true)]);
    }
}
