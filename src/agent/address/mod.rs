//! Virtual addresses: everything between the word in haresources and the network.
//!
//! * [`virtual_address`] reads the word and finds the interface; [`ipaddr`] is the built-in agent that adds and deletes
//!   addresses.
//! * `carrier` judges whether an interface can carry an address.
//! * [`announce`] tells the network where an address is now; [`send_arp`] is a built-in that does only that.
//! * [`prober`] asks the network who still answers for an address, before it is taken over.
//! * [`machine_prober`] asks whether the machine of a silent node answers.
//! * [`address_guard`] puts back addresses that something else removed, and announces them again when `link_paths` notices
//!   that their way to the network has changed.

pub mod address_guard;
pub mod announce;
mod carrier;
pub mod ipaddr;
mod link_paths;
pub mod machine_prober;
pub mod prober;
pub mod send_arp;
pub mod virtual_address;
