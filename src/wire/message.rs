//! The message: an ordered list of fields in one of heartbeat's two framings.
//!
//! ```text
//! netstring (sent and read)              text (read; older nodes and serial lines)
//!   ###\n                                  >>>\n
//!   LEN:(TYPE)NAME=VALUE,     repeated     [(TYPE)]NAME=VALUE\n     repeated
//!   %%%\n                                  auth=INDEX DIGEST\n
//!   ALEN:INDEX DIGEST,                     <<<\n  [one NUL]
//! ```
//! * LEN counts from `(` to the last byte of VALUE. TYPE: 0 string, 1 bytes, 2 struct, 3 list, 4 and 5 compressed.
//!   We write 0 and 1 and carry 2 to 5 as the bytes that they are; 6 to 9 are refused.
//! * Netstring: the digest covers everything from `###` to the newline of `%%%`.
//! * Text: it covers the field lines. A type 0 is not written, type 1 is base64, and a newline in a string
//!   is byte 0x13.
//!   A 3.0.6 receiver signs again what it has parsed. We check the digest of the received bytes before a field is read, and
//!   then require that the parsed fields encode to exactly those bytes. Both accept the same datagrams.

use std::borrow::Cow;

use super::Refused;

/// A UDP datagram cannot be longer.
pub const MAX_BYTES: usize = 65_535;

const NET_HEAD: &[u8] = b"###\n";
const NET_TAIL: &[u8] = b"%%%\n";
const TEXT_HEAD: &[u8] = b">>>\n";
const TEXT_TAIL: &[u8] = b"<<<\n";
const TEXT_AUTH: &[u8] = b"auth=";

/// The longest `ALEN:INDEX DIGEST,` or `auth=INDEX DIGEST\n`: that of sha256, with a digit to spare.
const MAX_DIGEST_BYTES: usize = 80;

/// Encodes a newline in a string of the text framing.
const TEXT_NEWLINE: u8 = 0x13;

/// The two framings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `###`, lengths, `%%%`.
    Netstring,
    /// `>>>`, lines, `<<<`.
    Text,
}

/// A datagram of which only the frame and the digest at its end have been parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its framing.
    pub framing: Framing,
    /// What the digest covers.
    pub signed: &'a [u8],
    /// The index of the key that it names.
    pub index: u8,
    /// Its digest as hexadecimal text, not verified yet.
    pub digest: &'a [u8],
    /// The fields without the markers around them.
    body: &'a [u8],
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name; never empty, without `=`.
    pub name: Cow<'a, [u8]>,
    /// Its type, 0 to 5.
    pub kind: u8,
    /// Its value; for types 2 to 5 of the text framing, as it was sent.
    pub value: Cow<'a, [u8]>,
}

/// An ordered list of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// In the order of the wire.
    pub fields: Vec<Field<'a>>,
}

/// Finds the frame and the digest and nothing else, because everybody can send datagrams.
///
/// # Errors
/// [`Refused::TooLong`] or [`Refused::Malformed`].
pub fn split(bytes: &[u8]) -> Result<Datagram<'_>, Refused> {
    if bytes.len() > MAX_BYTES {
        return Err(Refused::TooLong);
    }
    if let Some(rest) = bytes.strip_prefix(NET_HEAD) {
        split_netstring(bytes, rest)
    } else if let Some(rest) = bytes.strip_prefix(TEXT_HEAD) {
        split_text(rest)
    } else {
        Err(Refused::Malformed("it begins with neither ### nor >>>"))
    }
}

fn split_netstring<'a>(all: &'a [u8], rest: &'a [u8]) -> Result<Datagram<'a>, Refused> {
    const NO_DIGEST: Refused = Refused::Malformed("no digest after %%%");
    let at = rfind_near_end(rest, NET_TAIL).ok_or(NO_DIGEST)?;
    let (body, tail) = rest.split_at_checked(at).ok_or(NO_DIGEST)?;
    let tail = tail.strip_prefix(NET_TAIL).ok_or(NO_DIGEST)?;
    let (length, tail) = split_once(tail, b':').ok_or(NO_DIGEST)?;
    let text = tail.strip_suffix(b",").ok_or(NO_DIGEST)?;
    if decimal(length) != Some(text.len()) {
        return Err(Refused::Malformed(
            "the digest does not have the length that it gives",
        ));
    }
    let (index, digest) = index_and_digest(text)?;
    let signed = all.len().checked_sub(length.len() + 1 + text.len() + 1);
    let signed = signed.and_then(|n| all.get(..n)).ok_or(NO_DIGEST)?;
    Ok(Datagram {
        framing: Framing::Netstring,
        signed,
        index,
        digest,
        body,
    })
}

fn split_text(rest: &[u8]) -> Result<Datagram<'_>, Refused> {
    const NO_DIGEST: Refused = Refused::Malformed("no auth line before <<<");
    let rest = rest.strip_suffix(b"\0").unwrap_or(rest);
    let rest = rest.strip_suffix(TEXT_TAIL).ok_or(NO_DIGEST)?;
    let lines = rest.strip_suffix(b"\n").ok_or(NO_DIGEST)?;
    let at = rfind_near_end(lines, b"\n").map_or(0, |at| at + 1);
    let (body, auth) = lines.split_at_checked(at).ok_or(NO_DIGEST)?;
    let (index, digest) = index_and_digest(auth.strip_prefix(TEXT_AUTH).ok_or(NO_DIGEST)?)?;
    Ok(Datagram {
        framing: Framing::Text,
        signed: body,
        index,
        digest,
        body,
    })
}

/// `INDEX DIGEST`.
fn index_and_digest(text: &[u8]) -> Result<(u8, &[u8]), Refused> {
    let (index, digest) = split_once(text, b' ').ok_or(Refused::Malformed("no digest"))?;
    let index = decimal(index).and_then(|n| u8::try_from(n).ok());
    let index = index.ok_or(Refused::Malformed("the index of the key is not a number"))?;
    Ok((index, digest))
}

/// The last position of `what` that is near enough to the end to be followed by a digest.
fn rfind_near_end(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(MAX_DIGEST_BYTES + what.len());
    let near = bytes.get(from..)?;
    let at = near.windows(what.len()).rposition(|w| w == what)?;
    Some(from + at)
}

/// Adds the digest to the bytes that it covers ([`Message::to_netstrings`]): a whole datagram.
pub fn close(mut signed: Vec<u8>, index: u8, digest: &str) -> Vec<u8> {
    let text = format!("{index} {digest}");
    signed.extend_from_slice(format!("{}:{text},", text.len()).as_bytes());
    signed
}

impl<'a> Datagram<'a> {
    /// Reads the fields; call it only after the digest was verified.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn fields(&self) -> Result<Message<'a>, Refused> {
        match self.framing {
            Framing::Netstring => Message::from_netstrings(self.body),
            Framing::Text => Message::from_text(self.body),
        }
    }
}

impl<'a> Message<'a> {
    /// Adds a string.
    pub fn string(&mut self, name: &'static str, value: impl Into<Cow<'a, str>>) {
        let value = match value.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        self.push(name, 0, value);
    }

    /// Adds bytes.
    pub fn binary(&mut self, name: &'static str, value: &'a [u8]) {
        self.push(name, 1, Cow::Borrowed(value));
    }

    fn push(&mut self, name: &'static str, kind: u8, value: Cow<'a, [u8]>) {
        self.fields.push(Field {
            name: Cow::Borrowed(name.as_bytes()),
            kind,
            value,
        });
    }

    /// The value of the first field with this name, whatever its type.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|f| *f.name == *name.as_bytes());
        field.map(|f| &*f.value)
    }

    /// The value of the first field with this name, as text.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Refused> {
        self.get(name)
            .map(str::from_utf8)
            .transpose()
            .map_err(|_| Refused::Malformed("a field is not UTF-8"))
    }

    /// The netstring framing with its end marker: what the digest covers.
    pub fn to_netstrings(&self) -> Vec<u8> {
        let size: usize = self.fields.iter().map(Field::netstring_len).sum();
        let mut out = Vec::with_capacity(size + NET_HEAD.len() + NET_TAIL.len() + MAX_DIGEST_BYTES);
        out.extend_from_slice(NET_HEAD);
        for field in &self.fields {
            let length = field.body_len();
            out.extend_from_slice(length.to_string().as_bytes());
            out.extend_from_slice(&[b':', b'(', b'0' + field.kind, b')']);
            out.extend_from_slice(&field.name);
            out.push(b'=');
            out.extend_from_slice(&field.value);
            out.push(b',');
        }
        out.extend_from_slice(NET_TAIL);
        out
    }

    /// The field lines of the text framing: what its digest covers, and the inner `auth` field of 3.0.6.
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in &self.fields {
            if field.kind != 0 {
                out.extend_from_slice(&[b'(', b'0' + field.kind, b')']);
            }
            out.extend_from_slice(&field.name);
            out.push(b'=');
            match field.kind {
                0 => out.extend(field.value.iter().map(|&b| swap(b, b'\n', TEXT_NEWLINE))),
                1 => base64_encode(&field.value, &mut out),
                _ => out.extend_from_slice(&field.value),
            }
            out.push(b'\n');
        }
        out
    }

    fn from_netstrings(mut rest: &'a [u8]) -> Result<Self, Refused> {
        const CUT: Refused = Refused::Malformed("the length of a field is wrong");
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (length, tail) = split_once(rest, b':').ok_or(CUT)?;
            let length = decimal(length).ok_or(Refused::Malformed("a field without a length"))?;
            let (body, tail) = tail.split_at_checked(length).ok_or(CUT)?;
            rest = tail.strip_prefix(b",").ok_or(CUT)?;
            fields.push(netstring_field(body)?);
        }
        Ok(Message { fields })
    }

    fn from_text(body: &'a [u8]) -> Result<Self, Refused> {
        let mut fields = Vec::new();
        for line in body.split_inclusive(|&b| b == b'\n') {
            fields.push(text_field(line.strip_suffix(b"\n").unwrap_or(line))?);
        }
        let message = Message { fields };
        if message.to_text() != body {
            return Err(Refused::Malformed(
                "not in the exact form that heartbeat writes",
            ));
        }
        Ok(message)
    }
}

impl Field<'_> {
    /// `(TYPE)NAME=VALUE`.
    fn body_len(&self) -> usize {
        3 + self.name.len() + 1 + self.value.len()
    }

    fn netstring_len(&self) -> usize {
        let body = self.body_len();
        let digits = body.checked_ilog10().unwrap_or(0) as usize + 1;
        digits + 1 + body + 1
    }
}

/// `(TYPE)NAME=VALUE`. heartbeat 3.0.6 aborts on a malformed one.
fn netstring_field(body: &[u8]) -> Result<Field<'_>, Refused> {
    let (kind, rest) = kind(body).ok_or(Refused::Malformed("a field without a type"))?;
    let (name, value) = name_and_value(rest)?;
    if kind == 0 && value.contains(&0) {
        return Err(Refused::Malformed("a NUL in a string"));
    }
    field(name, kind, Cow::Borrowed(value))
}

/// `[(TYPE)]NAME=VALUE`.
fn text_field(line: &[u8]) -> Result<Field<'_>, Refused> {
    let (kind, rest) = kind(line).unwrap_or((0, line));
    let (name, value) = name_and_value(rest)?;
    let value = match kind {
        0 if value.contains(&0) => return Err(Refused::Malformed("a NUL in a string")),
        0 if value.contains(&TEXT_NEWLINE) => Cow::Owned(
            value
                .iter()
                .map(|&b| swap(b, TEXT_NEWLINE, b'\n'))
                .collect(),
        ),
        1 => Cow::Owned(base64_decode(value).ok_or(Refused::Malformed("bad base64"))?),
        _ => Cow::Borrowed(value),
    };
    field(name, kind, value)
}

fn field<'a>(name: &'a [u8], kind: u8, value: Cow<'a, [u8]>) -> Result<Field<'a>, Refused> {
    if kind > 5 {
        return Err(Refused::Malformed("a field of an unknown type"));
    }
    if name.is_empty() {
        return Err(Refused::Malformed("a field without a name"));
    }
    Ok(Field {
        name: Cow::Borrowed(name),
        kind,
        value,
    })
}

/// `(DIGIT)` and what follows.
fn kind(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [b'(', digit @ b'0'..=b'9', b')', rest @ ..] => Some((digit - b'0', rest)),
        _ => None,
    }
}

fn name_and_value(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    split_once(bytes, b'=').ok_or(Refused::Malformed("a field without ="))
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|&b| b == at)?;
    let (before, rest) = bytes.split_at_checked(place)?;
    Some((before, rest.get(1..)?))
}

/// A decimal number in its only form: no sign, no leading zero, at most six digits.
fn decimal(digits: &[u8]) -> Option<usize> {
    let plain = match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 6 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    plain.then_some(())?;
    str::from_utf8(digits).ok()?.parse().ok()
}

fn swap(byte: u8, from: u8, to: u8) -> u8 {
    if byte == from { to } else { byte }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, i| {
            bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            let six = (bits >> (18 - 6 * i) & 63) as usize;
            let letter = BASE64.get(six).copied().unwrap_or(b'=');
            out.push(if i <= chunk.len() { letter } else { b'=' });
        }
    }
}

/// It may be lenient, because [`Message::from_text`] encodes the result again and compares.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.chunks(4) {
        let letters = chunk.iter().take_while(|&&b| b != b'=').count();
        let bits = (0..4).try_fold(0_u32, |bits, i| {
            let six = match chunk.get(i) {
                Some(letter) if i < letters => BASE64.iter().position(|b| b == letter)?,
                _ => 0,
            };
            Some(bits << 6 | u32::try_from(six).ok()?)
        })?;
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend_from_slice(bytes.get(..letters.saturating_sub(1))?);
    }
    Some(out)
}

#[cfg(test)]
mod tests;
