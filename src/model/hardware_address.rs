//! The hardware address of a network interface (MAC).

use std::fmt;

use serde::{Deserialize, Serialize};

/// So many are published of a node.
pub const MAX_HARDWARE_ADDRESSES: usize = 32;

/// As Ethernet has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HardwareAddress(pub [u8; 6]);

impl HardwareAddress {
    /// Reads twelve hexadecimal digits.
    pub fn from_digits(digits: &str) -> Option<Self> {
        let plain = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(digits, 16).ok().filter(|_| plain)?;
        let [_, _, address @ ..] = number.to_be_bytes();
        Some(HardwareAddress(address))
    }

    /// The reverse of [`HardwareAddress::from_digits`].
    pub fn digits(self) -> String {
        self.to_string().replace(':', "")
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&parts.join(":"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_digits_are_an_address() {
        let address = HardwareAddress::from_digits("525400aabb0c").unwrap();
        assert_eq!(address.to_string(), "52:54:00:aa:bb:0c");
        assert_eq!(address.digits(), "525400aabb0c");
        for wrong in [
            "",
            "525400aabb0",
            "525400aabb0cc",
            "+25400aabb0c",
            "52540Xaabb0c",
        ] {
            assert_eq!(HardwareAddress::from_digits(wrong), None, "{wrong}");
        }
    }
}
