//! Whether an answer can stand in a configuration. Each function gives back the answer as it is written there, or why not.

use std::net::IpAddr;

use crate::agent::address::virtual_address;
use crate::text::quote;

/// The longest name of a node.
const MAX_NAME_CHARS: usize = 99;
/// The longest name of an interface that the kernel has.
const MAX_INTERFACE_BYTES: usize = 15;

/// The name of a node, in lower case as `uname -n` is compared.
///
/// # Errors
/// What is wrong with it.
pub fn node_name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) || text.len() > MAX_NAME_CHARS {
        return Err(format!(
            "{} is not a name: it has letters, digits, `-`, `.` and `_`, as `uname -n` prints it",
            quote(text)
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// An address that a machine has for itself, such as that of a node or of the gateway.
///
/// # Errors
/// What is wrong with it.
pub fn machine_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("{} is not an IP address, such as 10.0.0.1", quote(text)))?;
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
        return Err(format!(
            "{address} is not the address of one machine on a network"
        ));
    }
    Ok(address)
}

/// A node and its addresses: `alice=10.0.0.1`, or `alice=10.0.0.1,192.168.1.1` if several are allowed.
///
/// # Errors
/// What is wrong with it.
pub fn node(text: &str) -> Result<(String, Vec<IpAddr>), String> {
    let Some((name, addresses)) = text.split_once('=') else {
        let shown = quote(text);
        return Err(format!(
            "{shown} has no address: write NAME=ADDRESS, such as alice=10.0.0.1"
        ));
    };
    let addresses: Result<Vec<IpAddr>, String> =
        addresses.split(',').map(machine_address).collect();
    Ok((node_name(name)?, addresses?))
}

/// The name of an interface.
///
/// # Errors
/// What is wrong with it.
pub fn interface(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    if text.is_empty() || text.len() > MAX_INTERFACE_BYTES || !text.bytes().all(plain) {
        return Err(format!(
            "{} is not the name of an interface, such as eth0",
            quote(text)
        ));
    }
    Ok(text.to_owned())
}

/// A virtual address as a word of haresources: `10.0.0.100/24`, to which the interface is added, or with an interface of its own.
///
/// # Errors
/// What is wrong with it.
pub fn virtual_address(text: &str, interface: &str) -> Result<String, String> {
    let word = match text.split('/').collect::<Vec<_>>()[..] {
        [_] => {
            let shown = quote(text);
            return Err(format!(
                "{shown} has no prefix length: write that of its network too, such as 10.0.0.100/24"
            ));
        }
        [_, _] => format!("{text}/{interface}"),
        _ => text.to_owned(),
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    if word.contains(odd) {
        return Err(format!("{} is not one word", quote(text)));
    }
    match virtual_address::check_form(&word) {
        Ok(()) => Ok(word),
        Err(mistake) => Err(match mistake.help {
            Some(help) => format!("{}; {help}", mistake.message),
            None => mistake.message,
        }),
    }
}

/// The address in a word that [`virtual_address()`] made.
pub fn address_of(word: &str) -> Option<IpAddr> {
    word.split('/').next()?.parse().ok()
}

/// A word of haresources.
///
/// # Errors
/// What is wrong with it.
pub fn resource_word(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "#\\\"'".contains(c);
    if text.is_empty() || text.contains(odd) {
        return Err(format!(
            "{} is not a resource: it is one word without blanks and quotation marks, such as nginx or systemd::nginx",
            quote(text)
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_ha_cf_reads_them() {
        assert_eq!(
            node("Alice=10.0.0.1"),
            Ok(("alice".to_owned(), vec!["10.0.0.1".parse().unwrap()]))
        );
        assert_eq!(node("a=fd00::1,10.0.0.1").unwrap().1.len(), 2);
        for bad in [
            "",
            "alice",
            "=10.0.0.1",
            "a b=10.0.0.1",
            "a=10.0.0",
            "a=127.0.0.1",
            "a=",
            "a=10.0.0.1,",
            "a=0.0.0.0",
        ] {
            assert!(node(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_virtual_address_needs_its_prefix() {
        let word = |text| virtual_address(text, "eth0");
        assert_eq!(word("10.0.0.100/24"), Ok("10.0.0.100/24/eth0".to_owned()));
        assert_eq!(word("fd00::5/64"), Ok("fd00::5/64/eth0".to_owned()));
        assert_eq!(
            word("10.0.0.100/24/eth1:1"),
            Ok("10.0.0.100/24/eth1:1".to_owned())
        );
        for bad in [
            "10.0.0.100",
            "10.0.0.300/24",
            "10.0.0.100/33",
            "x/24",
            "10.0.0.100/24/eth0 x",
            "",
        ] {
            assert!(word(bad).is_err(), "{bad}");
        }
        assert_eq!(address_of("10.0.0.100/24/eth0"), "10.0.0.100".parse().ok());
    }

    #[test]
    fn words_and_interfaces_are_one_word() {
        assert!(interface("bond0.17").is_ok() && resource_word("systemd::nginx").is_ok());
        for bad in ["", "a b", "eth0:1", "averyveryverylongname", "é", "eth0\\"] {
            assert!(interface(bad).is_err(), "{bad}");
        }
        for bad in ["", "a b", "x#", "\"x\"", "a\\"] {
            assert!(resource_word(bad).is_err(), "{bad}");
        }
    }
}
