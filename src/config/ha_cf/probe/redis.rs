//! Reads `redis [ADDR:PORT] [role master|replica] [link up] [password @/FILE]`.

use std::net::{Ipv4Addr, SocketAddr};

use super::super::HaCfReader;
use super::super::health::OPTIONS;
use super::read_socket_address;
use crate::model::health::{Probe, RedisProbe, RedisRole};
use crate::text::{SourceWord, did_you_mean};

const USUAL_PORT: u16 = 6379;
const OWN_OPTIONS: [&str; 3] = ["role", "link", "password"];

pub(super) fn read_redis(reader: &mut HaCfReader<'_>, rest: &[SourceWord]) -> Option<Probe> {
    let mut probe = RedisProbe {
        server: SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT)),
        given: false,
        role: None,
        link_up: false,
        password: None,
    };
    let mut wishes = rest;
    if let Some((word, others)) = rest.split_first()
        && (word.text.contains(['.', ':', '/']) || word.text == "localhost")
    {
        probe.server = read_socket_address(reader, word, &word.text, Some(USUAL_PORT))?;
        probe.given = true;
        wishes = others;
    }
    for pair in wishes.chunks(2) {
        read_redis_option(reader, &mut probe, pair)?;
    }
    if probe.link_up && probe.role == Some(RedisRole::Master) {
        let message = "a master has no link to a master, so `link up` would always fail";
        let place = &rest.first()?.place;
        reader.report.error(place, message, "remove one of the two");
        return None;
    }
    Some(Probe::Redis(probe))
}

fn read_redis_option(
    reader: &mut HaCfReader<'_>,
    probe: &mut RedisProbe,
    pair: &[SourceWord],
) -> Option<()> {
    let name = pair.first()?;
    if !OWN_OPTIONS.contains(&name.text.as_str()) {
        let help = did_you_mean(&name.text, OWN_OPTIONS.into_iter().chain(OPTIONS));
        let message = format!("{} is not one of {}", name.quoted(), OWN_OPTIONS.join(", "));
        reader.report.error(&name.place, message, help);
        return None;
    }
    let value = reader.option_value(pair, "a value")?;
    let twice = match name.text.as_str() {
        "role" => {
            let role = read_role(reader, value)?;
            probe.role.replace(role).is_some()
        }
        "link" if value.text == "up" => std::mem::replace(&mut probe.link_up, true),
        "link" => {
            let message = format!("{} is not `up`", value.quoted());
            reader.report.error(&value.place, message, "write: link up");
            return None;
        }
        _ => {
            let file = reader.secret_file(value)?;
            probe.password.replace(file).is_some()
        }
    };
    reader.refuse_second(name, twice)
}

fn read_role(reader: &mut HaCfReader<'_>, word: &SourceWord) -> Option<RedisRole> {
    match word.text.as_str() {
        "master" => Some(RedisRole::Master),
        "replica" => Some(RedisRole::Replica),
        other => {
            let help = did_you_mean(other, ["master", "replica"]);
            let message = format!("{} is neither `master` nor `replica`", word.quoted());
            reader.report.error(&word.place, message, help);
            None
        }
    }
}
