//! Makes hostile inputs out of valid ones.

use had::sim::Random;

/// No input grows beyond this.
const LONGEST: usize = 2 << 20;

/// Numbers at which something ends.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "ffffffffffffffff",
    "7fffffffffffffff",
    "1e999",
];

/// Bytes that end, begin or escape something somewhere.
const TROUBLE: [&[u8]; 16] = [
    b"\0",
    b"\r\n",
    b"\n",
    b"\r",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"\x1b[2J\x1b]0;x\x07",
    b"%00",
    b"%",
    b"\"",
    b"\\",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    "\u{202e}\u{2028}\u{feff}".as_bytes(),
    b"\t",
];

/// One to some mutations of one of the examples.
pub fn mutated(random: &mut Random, examples: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = random.pick(examples).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        mutate(random, &mut bytes, examples, words);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn place(random: &mut Random, bytes: &[u8]) -> usize {
    usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap()
}

/// A part of it, mostly a short one.
fn part(random: &mut Random, bytes: &[u8]) -> std::ops::Range<usize> {
    let from = place(random, bytes);
    let longest = if random.chance(900) { 16 } else { 4096 };
    let length = usize::try_from(random.below(longest)).unwrap();
    from..(from + length).min(bytes.len())
}

fn insert(random: &mut Random, bytes: &mut Vec<u8>, what: &[u8]) {
    let at = place(random, bytes);
    bytes.splice(at..at, what.iter().copied());
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, examples: &[Vec<u8>], words: &[&str]) {
    match random.below(14) {
        0 => flip(random, bytes),
        1 => {
            let noise: Vec<u8> = (0..random.below(24))
                .map(|_| random.number().to_le_bytes()[0])
                .collect();
            insert(random, bytes, &noise);
        }
        2 => {
            let gone = part(random, bytes);
            bytes.drain(gone);
        }
        3 => {
            let twice = bytes[part(random, bytes)].to_vec();
            insert(random, bytes, &twice);
        }
        4 => bytes.truncate(place(random, bytes)),
        5 => {
            let other = random.pick(examples).cloned().unwrap_or_default();
            let from = place(random, &other);
            bytes.truncate(place(random, bytes));
            bytes.extend_from_slice(&other[from..]);
        }
        6 | 7 => renumber(random, bytes),
        8 | 9 => {
            let word = random.pick(words).copied().unwrap_or_default();
            insert(random, bytes, word.as_bytes());
        }
        10 => {
            let trouble = *random.pick(&TROUBLE).unwrap();
            insert(random, bytes, trouble);
        }
        11 => repeat(random, bytes),
        12 => lines(random, bytes),
        _ => {
            let lost = part(random, bytes);
            let word = random.pick(words).copied().unwrap_or_default();
            bytes.splice(lost, word.bytes());
        }
    }
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    let at = place(random, bytes);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Puts another number where there is one.
fn renumber(random: &mut Random, bytes: &mut Vec<u8>) {
    let from = place(random, bytes);
    let digit = |b: &u8| b.is_ascii_digit();
    let Some(begin) = bytes[from..].iter().position(digit).map(|n| from + n) else {
        return;
    };
    let length = bytes[begin..].iter().take_while(|b| digit(b)).count();
    let number = random.pick(&NUMBERS).copied().unwrap_or_default();
    bytes.splice(begin..begin + length, number.bytes());
}

/// A part of it very often; seldom so often that it becomes a megabyte.
fn repeat(random: &mut Random, bytes: &mut Vec<u8>) {
    let what = bytes[part(random, bytes)].to_vec();
    let size = if random.chance(20) { 1 << 20 } else { 2000 };
    let times = size / what.len().max(1);
    insert(random, bytes, &what.repeat(times));
}

/// Swaps, doubles or joins lines.
fn lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let mut line = || usize::try_from(random.below(lines.len() as u64)).unwrap();
    let (a, b) = (line(), line());
    match random.below(3) {
        0 => lines.swap(a, b),
        1 => lines.insert(a, lines[b]),
        _ => {
            lines.remove(a);
        }
    }
    let end: &[u8] = if random.chance(200) { b"\r\n" } else { b"\n" };
    *bytes = lines.join(end);
}
