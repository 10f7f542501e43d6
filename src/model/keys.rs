//! The shared secrets of `authkeys`.

use std::collections::BTreeMap;
use std::fmt;

/// All keys of `authkeys`, and which one signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The index of the key that signs our heartbeats.
    pub signing: u8,
    /// All keys by their index, 0 to 15.
    pub keys: BTreeMap<u8, Key>,
}

/// One line of `authkeys`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The signing method.
    pub method: Method,
    /// The secret; empty for [`Method::Crc`].
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, ..)", self.method)
    }
}

/// How datagrams are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A checksum without a secret: it finds damage but stops no attacker.
    Crc,
    /// HMAC-MD5, for heartbeat's old files.
    Md5,
    /// HMAC-SHA1, for heartbeat's old files.
    Sha1,
    /// HMAC-SHA256, which heartbeat 3.0.6 does not have.
    Sha256,
}

impl Method {
    /// Its name in `authkeys`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc => "crc",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}
