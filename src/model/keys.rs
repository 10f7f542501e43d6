//! The shared secrets of `authkeys`.

use std::collections::BTreeMap;
use std::fmt;

/// All keys of `authkeys` and which of them signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Index of the key that signs what we send.
    pub signing: u8,
    /// Every key by its index, 0 to 15.
    pub keys: BTreeMap<u8, Key>,
}

/// One line of `authkeys`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// How it signs.
    pub method: Method,
    /// The secret; empty for [`Method::Crc`].
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, ..)", self.method)
    }
}

/// How a datagram is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A checksum without a secret: finds damage, stops nobody.
    Crc,
    /// HMAC-MD5, for heartbeat's old files.
    Md5,
    /// HMAC-SHA1, for heartbeat's old files.
    Sha1,
    /// HMAC-SHA256, our own addition.
    Sha256,
}

impl Method {
    /// The word in `authkeys`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc => "crc",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}
