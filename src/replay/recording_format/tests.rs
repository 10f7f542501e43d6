use std::time::Duration;

use super::*;
use crate::model::cluster::Timing;
use crate::model::heartbeat::{Heard, Phase};
use crate::model::{Generation, GroupName};

fn heartbeat(number: u64, heard: u64, phase: Phase) -> Event {
    let peer = Heard {
        instance: None,
        node: NodeName::new("alice"),
        generation: Generation(3),
        sequence: Sequence(heard),
        loss: 0,
        links: vec![LinkName::new("eth0")],
    };
    Event::Heard {
        from: None,
        link: LinkName::new("eth0"),
        heartbeat: Box::new(Heartbeat {
            phase,
            deadtime: Duration::from_millis(2500),
            heard: vec![peer],
            digest: u64::MAX,
            ..Heartbeat::new(NodeName::new("bob"), Generation(1), Sequence(number))
        }),
    }
}

fn cluster() -> Cluster {
    let second = Duration::from_secs(1);
    Cluster {
        links: vec![LinkName::new("eth0")],
        ..Cluster::new(
            &["alice", "bob"].map(NodeName::new),
            Timing::usual(second, second * 10),
        )
    }
}

fn state(state: StartState) -> RecordingStart {
    RecordingStart {
        format: RECORDING_FORMAT,
        had: env!("CARGO_PKG_VERSION").to_owned(),
        node: NodeName::new("alice"),
        life: Time(5),
        next: 0,
        at: Time(1_000),
        wall_ms: 1_768_500_000_123,
        digest: ActionDigest::default(),
        state,
    }
}

fn fresh() -> RecordingStart {
    state(StartState::Fresh(Box::new((
        cluster(),
        PersistentState::default(),
    ))))
}

fn text(line: Vec<u8>) -> String {
    let line = String::from_utf8(line).unwrap();
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'));
    line.to_owned()
}

/// As they come back.
/// An input with the fingerprint 9, decided by itself.
fn input(at: Time, event: Event) -> RecordedInput {
    RecordedInput {
        at,
        event,
        more: false,
        digest: Some(ActionDigest(9)),
    }
}

fn there_and_back(events: &[(Time, Event)]) -> (Vec<(Time, Event)>, Vec<usize>) {
    let (mut encoder, mut decoder) = (RecordingEncoder::default(), RecordingDecoder::default());
    let begin = text(encoder.start_line(&fresh()).unwrap());
    assert!(matches!(
        decoder.line(&begin),
        Some(Ok(RecordingItem::Start(_)))
    ));
    let mut lengths = Vec::new();
    let mut back = Vec::new();
    for (at, event) in events {
        // Every other one was decided with the next.
        let more = lengths.len() % 2 == 1;
        let told = RecordedInput {
            more,
            ..input(*at, event.clone())
        };
        let line = text(encoder.input_line(told).unwrap());
        lengths.push(line.len());
        let Some(Ok(RecordingItem::Event(told))) = decoder.line(&line) else {
            panic!("{line}");
        };
        assert!(told.digest.is_none_or(|d| d == ActionDigest(9)));
        assert_eq!(told.more, more);
        back.push((told.at, told.event));
    }
    (back, lengths)
}

#[test]
fn what_is_written_comes_back_and_what_is_said_again_is_short() {
    let mut events = Vec::new();
    for n in 1..100 {
        let phase = if n % 3 == 0 {
            Phase::Init
        } else {
            Phase::Active
        };
        let at = Time(1_000 + n * 10_000_000);
        events.push((at, heartbeat(n, n + 7, phase)));
        events.push((at + Duration::from_nanos(n), Event::DeadlineReached));
        events.push((at + Duration::from_nanos(n), Event::Saved { version: n }));
    }
    let (back, lengths) = there_and_back(&events);
    assert_eq!(back, events);
    assert!(lengths[0] > 300, "{lengths:?}");
    assert!(lengths[290..].iter().all(|l| *l < 80), "{lengths:?}");
}

#[test]
fn more_heartbeats_than_can_be_remembered_are_written_whole() {
    let other = |n: usize| {
        let Event::Heard { mut heartbeat, .. } = heartbeat(1, 1, Phase::Active) else {
            panic!();
        };
        heartbeat.intent.standby = vec![GroupName::new(&format!("g{n}"))];
        let link = LinkName::new("eth0");
        (
            Time(2_000),
            Event::Heard {
                link,
                from: None,
                heartbeat,
            },
        )
    };
    let twice = (0..MAX_FORMS * 2)
        .chain(MAX_FORMS..MAX_FORMS * 2)
        .chain(0..3);
    let events: Vec<_> = twice.map(other).collect();
    let (back, lengths) = there_and_back(&events);
    assert_eq!(back, events);
    let whole = lengths.iter().filter(|l| **l > 300).count();
    assert_eq!(whole, MAX_FORMS * 2 + 3);
}

#[test]
fn an_engine_comes_back_as_it_was() {
    let kept = PersistentState::default();
    let (mut engine, _) = Engine::new(cluster(), kept, Time(1_000));
    for n in 1..50 {
        let at = Time(1_000 + n * 100_000_000);
        drop(engine.handle(at, heartbeat(n, n, Phase::Active)));
        drop(engine.handle(at, Event::DeadlineReached));
    }
    let line = text(
        RecordingEncoder::default()
            .start_line(&state(StartState::Running(Box::new(engine.clone()))))
            .unwrap(),
    );
    let Some(Ok(RecordingItem::Start(begin))) = RecordingDecoder::default().line(&line) else {
        panic!("{line}");
    };
    let StartState::Running(back) = begin.state else {
        panic!();
    };
    assert_eq!(format!("{back:?}"), format!("{engine:?}"));
}

#[test]
fn after_a_line_that_cannot_be_read_nothing_counts_until_the_next_state() {
    let mut encoder = RecordingEncoder::default();
    let begin = text(encoder.start_line(&fresh()).unwrap());
    let deadline = |e: &mut RecordingEncoder| {
        text(
            e.input_line(input(Time(2_000), Event::DeadlineReached))
                .unwrap(),
        )
    };
    let line = deadline(&mut encoder);
    let mut decoder = RecordingDecoder::default();
    assert!(decoder.line(&line).is_none(), "nothing to stand on");
    for bad in [
        "",
        "{",
        "{\"d\":-1}",
        "{\"d\":1,\"x\":2}",
        "{\"d\":1,\"a\":[0,1,[]]}",
        "{\"d\":1,\"e\":\"Boom\"}",
        "{\"d\":1,\"a\":[0,1,[1]],\"e\":\"DeadlineReached\"}",
    ] {
        assert!(matches!(
            decoder.line(&begin),
            Some(Ok(RecordingItem::Start(_)))
        ));
        assert!(matches!(decoder.line(bad), Some(Err(_))), "{bad}");
        assert!(decoder.line(&line).is_none(), "{bad}");
    }
    let cut = &begin[..begin.len() - 1];
    assert!(matches!(decoder.line(cut), Some(Err(_))));
    assert!(decoder.line(&line).is_none());
}

#[test]
fn a_recording_of_another_version_says_which_tool_reads_it() {
    let line = text(RecordingEncoder::default().start_line(&fresh()).unwrap());
    let own = format!("\"had\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let said = |line: &str| match RecordingDecoder::default().line(line) {
        Some(Err(why)) => why,
        other => panic!("{other:?}"),
    };
    for (format, version) in [
        (RECORDING_FORMAT - 1, "0.0.9"),
        (RECORDING_FORMAT + 1, "9.9.9"),
    ] {
        let numbers = (
            format!("\"had recording\":{RECORDING_FORMAT}"),
            format!("\"had recording\":{format}"),
        );
        let other = line.replacen(&numbers.0, &numbers.1, 1);
        let why = said(&other.replace(&own, &format!("\"had\":\"{version}\"")));
        let written = why.contains(&format!("written by had {version}"));
        let formats = why.contains(&format!("format {format}, not {RECORDING_FORMAT}"));
        assert!(written && formats, "{why}");
    }
    let changed = line.replace("\"keepalive\"", "\"keepalife\"");
    let why = said(&changed.replace(&own, "\"had\":\"0.0.9\""));
    assert!(why.contains("written by had 0.0.9"), "{why}");
    assert!(!said(&changed).contains("written by"));
}
