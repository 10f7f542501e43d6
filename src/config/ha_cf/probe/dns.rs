//! Reads `dns NAME at SERVER[:PORT] [expect ADDRESS]`.

use std::net::IpAddr;

use super::super::HaCfReader;
use super::super::health::OPTIONS;
use super::{is_host_name, read_socket_address};
use crate::model::health::{DnsProbe, Probe};
use crate::text::{SourceWord, did_you_mean};

const EXAMPLE: &str = "for example: dns www.example.org at 127.0.0.1 expect 10.0.0.100";
const USUAL_PORT: u16 = 53;
const OWN_OPTIONS: [&str; 2] = ["at", "expect"];

pub(super) fn read_dns(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &[SourceWord],
) -> Option<Probe> {
    let Some((name, wishes)) = rest.split_first() else {
        let message = "`dns` needs a name, and the address of a name server";
        reader.report.error(&kind.place, message, EXAMPLE);
        return None;
    };
    if !is_host_name(&name.text) || name.text.parse::<IpAddr>().is_ok() {
        let message = format!("{} is no name of a host", name.quoted());
        reader.report.error(&name.place, message, EXAMPLE);
        return None;
    }
    let (mut server, mut expect) = (None, None);
    for pair in wishes.chunks(2) {
        let option = pair.first()?;
        if !OWN_OPTIONS.contains(&option.text.as_str()) {
            let help = did_you_mean(&option.text, OWN_OPTIONS.into_iter().chain(OPTIONS));
            let message = format!("{} is neither `at` nor `expect`", option.quoted());
            reader.report.error(&option.place, message, help);
            return None;
        }
        let value = reader.option_value(pair, "an address")?;
        let twice = if option.text == "at" {
            let address = read_socket_address(reader, value, &value.text, Some(USUAL_PORT))?;
            server.replace(address).is_some()
        } else {
            expect.replace(read_address(reader, value)?).is_some()
        };
        reader.refuse_second(option, twice)?;
    }
    let Some(server) = server else {
        let message = format!("which name server is asked for {}?", name.quoted());
        reader.report.error(&name.place, message, EXAMPLE);
        return None;
    };
    let name = name.text.clone();
    Some(Probe::Dns(DnsProbe {
        name,
        server,
        expect,
    }))
}

fn read_address(reader: &mut HaCfReader<'_>, word: &SourceWord) -> Option<IpAddr> {
    let address = word.text.parse().ok();
    if address.is_none() {
        let message = format!("{} is not an address", word.quoted());
        reader.report.error(&word.place, message, "");
    }
    address
}
