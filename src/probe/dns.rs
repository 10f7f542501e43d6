//! `dns NAME at SERVER[:PORT] [expect ADDRESS]`: a name server gives an address of a name, over UDP.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::tcp;
use crate::model::health::DnsProbe;

/// A datagram may be lost, so the question is asked again after this time.
const RETRY: Duration = Duration::from_millis(500);
/// No answer without extensions is longer than 512 bytes, but some servers send longer ones.
const MAX_ANSWER_BYTES: usize = 4096;

/// Asks until there is an answer; the caller has a deadline.
pub(super) async fn run(probe: &DnsProbe) -> Result<String, String> {
    let kinds: &[TYPE] = match probe.expect {
        Some(IpAddr::V4(_)) => &[TYPE::A],
        Some(IpAddr::V6(_)) => &[TYPE::AAAA],
        None => &[TYPE::A, TYPE::AAAA],
    };
    let mut found = Vec::new();
    for kind in kinds {
        found = ask(probe, *kind)
            .await
            .map_err(|e| format!("{}: {e}", probe.server))?;
        if !found.is_empty() {
            break;
        }
    }
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    let all = all.join(", ");
    match probe.expect {
        _ if found.is_empty() => Err(format!("{} has no address", probe.name)),
        Some(wanted) if !found.contains(&wanted) => {
            Err(format!("{} is {all}, not {wanted}", probe.name))
        }
        Some(_) | None => Ok(format!("{} is {all}", probe.name)),
    }
}

/// Asks for one kind of addresses.
async fn ask(probe: &DnsProbe, kind: TYPE) -> Result<Vec<IpAddr>, String> {
    let broken = |e: std::io::Error| tcp::error_text(&e);
    let any = match probe.server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(broken)?;
    // From now on only datagrams of the server arrive.
    socket.connect(probe.server).await.map_err(broken)?;
    let id = random_id();
    let question = question(id, &probe.name, kind)?;
    let mut answer = vec![0; MAX_ANSWER_BYTES];
    loop {
        socket.send(&question).await.map_err(broken)?;
        while let Ok(received) = timeout(RETRY, socket.recv(&mut answer)).await {
            let length = received.map_err(broken)?;
            let bytes = answer.get(..length).unwrap_or_default();
            if let Some(judged) = read_answer(bytes, id, probe, kind) {
                return judged;
            }
        }
    }
}

fn random_id() -> u16 {
    let random = RandomState::new().build_hasher().finish();
    u16::try_from(random & 0xffff).unwrap_or_default()
}

fn question(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, String> {
    let wrong = |e: simple_dns::SimpleDnsError| format!("cannot ask for {name}: {e}");
    let name = Name::new(name.trim_end_matches('.')).map_err(wrong)?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    packet
        .questions
        .push(Question::new(name, kind, class, false));
    packet.build_bytes_vec().map_err(wrong)
}

/// The addresses in an answer. `None` if it answers something else, such as an earlier question.
fn read_answer(
    bytes: &[u8],
    id: u16,
    probe: &DnsProbe,
    kind: TYPE,
) -> Option<Result<Vec<IpAddr>, String>> {
    let Ok(packet) = Packet::parse(bytes) else {
        return Some(Err("sends what is no answer of a name server".to_owned()));
    };
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let name = &probe.name;
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Some(Err(format!("there is no name {name} (NXDOMAIN)"))),
        RCODE::ServerFailure => {
            return Some(Err(format!("it cannot find out about {name} (SERVFAIL)")));
        }
        RCODE::Refused => return Some(Err(format!("it refuses to tell about {name} (REFUSED)"))),
        RCODE::FormatError => {
            return Some(Err(format!(
                "it does not understand the question about {name} (FORMERR)"
            )));
        }
        RCODE::NotImplemented => {
            return Some(Err(format!(
                "it does not support this question about {name} (NOTIMP)"
            )));
        }
        _ => {
            return Some(Err(format!(
                "it answers for {name} with an error of another kind"
            )));
        }
    }
    let asked = packet.questions.first()?;
    let same_name = asked
        .qname
        .to_string()
        .eq_ignore_ascii_case(name.trim_end_matches('.'));
    if !same_name || asked.qtype != QTYPE::TYPE(kind) {
        return None;
    }
    let addresses: Vec<IpAddr> = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
            RData::AAAA(a) => Some(IpAddr::V6(Ipv6Addr::from(a.address))),
            _ => None,
        })
        .collect();
    let missing = probe
        .expect
        .is_some_and(|wanted| !addresses.contains(&wanted));
    if packet.has_flags(PacketFlag::TRUNCATION) && (addresses.is_empty() || missing) {
        return Some(Err("its answer is too long for a datagram".to_owned()));
    }
    Some(Ok(addresses))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Probes a server that answers each question as `reply` says, from the question and its number.
    async fn probe(
        expect: Option<&str>,
        reply: impl Fn(Packet<'_>, usize) -> Option<Vec<u8>>,
    ) -> Result<String, String> {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let probe = DnsProbe {
            name: "Www.example.org.".to_owned(),
            server: server.local_addr().unwrap(),
            expect: expect.map(|address| address.parse().unwrap()),
        };
        let serve = async {
            let mut buffer = vec![0; 512];
            for number in 0.. {
                let (length, from): (usize, SocketAddr) =
                    server.recv_from(&mut buffer).await.unwrap();
                let question = Packet::parse(&buffer[..length]).unwrap();
                assert!(question.has_flags(PacketFlag::RECURSION_DESIRED));
                if let Some(reply) = reply(question, number) {
                    server.send_to(&reply, from).await.unwrap();
                }
            }
        };
        let seen = tokio::select! {
            seen = run(&probe) => seen,
            () = serve => unreachable!(),
        };
        seen.map_err(|e| e.replace(&format!("{}: ", probe.server), ""))
    }

    fn with_code(question: Packet<'_>, code: RCODE) -> Option<Vec<u8>> {
        let mut reply = question.into_reply();
        *reply.rcode_mut() = code;
        reply.build_bytes_vec().ok()
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_told() {
        for (code, wanted) in [
            (
                RCODE::NameError,
                "there is no name Www.example.org. (NXDOMAIN)",
            ),
            (
                RCODE::ServerFailure,
                "it cannot find out about Www.example.org. (SERVFAIL)",
            ),
            (
                RCODE::Refused,
                "it refuses to tell about Www.example.org. (REFUSED)",
            ),
            (
                RCODE::NotImplemented,
                "it does not support this question about Www.example.org. (NOTIMP)",
            ),
            (RCODE::NoError, "Www.example.org. has no address"),
        ] {
            let seen = probe(None, |question, _| with_code(question, code)).await;
            assert_eq!(seen, Err(wanted.to_owned()));
        }
        let seen = probe(None, |_, _| Some(b"hello".to_vec())).await;
        let wanted = "sends what is no answer of a name server".to_owned();
        assert_eq!(seen, Err(wanted));
        let seen = probe(None, |question, _| {
            let mut reply = question.into_reply();
            reply.set_flags(PacketFlag::TRUNCATION);
            reply.build_bytes_vec().ok()
        })
        .await;
        assert_eq!(
            seen,
            Err("its answer is too long for a datagram".to_owned())
        );
    }

    #[tokio::test]
    async fn lost_questions_are_asked_again_and_other_answers_are_not_believed() {
        let seen = probe(None, |mut question, number| match number {
            0 => None,
            1 => {
                question.set_id(question.id().wrapping_add(1));
                with_code(question, RCODE::NameError)
            }
            // A question is no answer.
            2 => question.build_bytes_vec().ok(),
            _ => with_code(question, RCODE::Refused),
        })
        .await;
        let wanted = "it refuses to tell about Www.example.org. (REFUSED)";
        assert_eq!(seen, Err(wanted.to_owned()));
    }
}
