use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;

use super::*;
use crate::view::Answer;

/// As the daemon sends it; a word with a quote, and one that tries to begin a line.
const STATUS: &str = r#"{"node":"alice","generation":3,"phase":"active","waiting":null,
  "nodes":[{"name":"alice","liveness":"here","generation":3,"reach":null,"links":[],"notes":[]},
    {"name":"bob","liveness":"late","silent_for":1500,"generation":2,"reach":null,"notes":[],
     "links":[{"link":"eth0","hears":true,"heard":false,"silent_for":40}]}],
  "pings":[{"name":"10.0.0.254","up":true}],
  "quorum":{"held":true,"counted":true,"votes":2,"total":3},
  "groups":[{"name":"we\"b\nhad_up 7","preferred":"bob","owners":["alice"],"states":[["alice","online"],["bob","offline"]],
    "term":4,"notes":[],"standbys":[{"node":"bob","ready":false,"reasons":[{"id":"standby-lacks","text":"no script"}]},
      {"node":"carol","ready":true,"reasons":[]},{"node":"dave","ready":false,"reasons":[{"id":"readiness-unknown","text":"-"}]}],
    "resources":[{"token":"nginx","state":"running","error":null}]}],
  "fencing":[{"node":"bob","state":"held","failed":2,"error":"no route to the switch"}],
  "counters":{"heartbeats sent":12,"datagrams refused: signed with key 9, which ...":2,"datagrams refused: new":5},
  "activity":[{"group":"we\"b\nhad_up 7","changed":61000,"start_times":{"sum":2500,"buckets":[{"up_to":1000,"count":1},{"up_to":null,"count":1}]},"starts":2,"stops":1,"failures":0,"stuck":0,"restarts":3,
    "claims":{"owner-dead":1}}]}"#;

fn view() -> View {
    let mut view = View::default();
    let answer = Answer {
        status: serde_json::from_str(STATUS).unwrap(),
        status_json: Bytes::new(),
        history_json: Bytes::new(),
        event: Bytes::new(),
    };
    view.answered(Arc::new(answer), Instant::now());
    view
}

fn value<'p>(page: &'p str, sample: &str) -> Option<&'p str> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
}

#[test]
fn a_status_is_told_in_numbers() {
    let page = render(&view(), Format::OpenMetrics).unwrap();
    let group = r#"group="we\"b\nhad_up 7""#;
    for (sample, wanted) in [
        ("had_up".to_owned(), "1.0"),
        (r#"had_node_up{node="bob"}"#.to_owned(), "1.0"),
        (r#"had_node_silence_seconds{node="bob"}"#.to_owned(), "1.5"),
        (
            r#"had_link_up{node="bob",link="eth0",relay="false"}"#.to_owned(),
            "0.0",
        ),
        (
            r#"had_link_hears{node="bob",link="eth0",relay="false"}"#.to_owned(),
            "1.0",
        ),
        (
            r#"had_link_silence_seconds{node="bob",link="eth0",relay="false"}"#.to_owned(),
            "0.04",
        ),
        (
            format!(r#"had_group_start_duration_seconds_bucket{{le="1.0",{group}}}"#),
            "1",
        ),
        (
            format!(r#"had_group_start_duration_seconds_bucket{{le="+Inf",{group}}}"#),
            "2",
        ),
        (
            format!("had_group_start_duration_seconds_sum{{{group}}}"),
            "2.5",
        ),
        ("had_quorum_votes".to_owned(), "2.0"),
        (format!("had_group_runs{{{group}}}"), "1.0"),
        (format!("had_group_preferred{{{group}}}"), "0.0"),
        (format!(r#"had_group_owner{{{group},node="alice"}}"#), "1.0"),
        (
            format!(r#"had_group_standby_ready{{{group},node="bob"}}"#),
            "0.0",
        ),
        (
            format!(r#"had_group_standby_ready{{{group},node="carol"}}"#),
            "1.0",
        ),
        (
            format!(r#"had_group_state{{{group},state="online"}}"#),
            "1.0",
        ),
        (
            format!(r#"had_group_state{{{group},state="stuck"}}"#),
            "0.0",
        ),
        (format!("had_group_unchanged_seconds{{{group}}}"), "61.0"),
        (format!("had_group_restarts_total{{{group}}}"), "3"),
        (
            format!(r#"had_group_claims_total{{{group},reason="owner-dead"}}"#),
            "1",
        ),
        (
            r#"had_datagrams_rejected_total{reason="unknown-key"}"#.to_owned(),
            "2",
        ),
        (
            r#"had_datagrams_rejected_total{reason="other"}"#.to_owned(),
            "5",
        ),
        (
            r#"had_datagrams_rejected_total{reason="bad-digest"}"#.to_owned(),
            "0",
        ),
        (
            r#"had_fencing_state{node="bob",state="held"}"#.to_owned(),
            "1.0",
        ),
        (
            r#"had_fencing_state{node="bob",state="idle"}"#.to_owned(),
            "0.0",
        ),
        (
            r#"had_fencing_failed_attempts{node="bob"}"#.to_owned(),
            "2.0",
        ),
        (r#"had_fencing_device_works{node="bob"}"#.to_owned(), "0.0"),
        (r#"had_problems{kind="link-down"}"#.to_owned(), "1.0"),
    ] {
        assert_eq!(value(&page, &sample), Some(wanted), "{sample}\n{page}");
    }
    assert!(!page.contains("dave"), "nothing is known of it");
    assert!(page.ends_with("# EOF\n"));
    assert_eq!(
        page.matches("\nhad_up ").count(),
        1,
        "no word begins a line"
    );
}

#[test]
fn a_silent_daemon_leaves_its_age_alone() {
    let last = view().last().map(Arc::clone).unwrap();
    let mut view = View::default();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
    view.answered(last, long_ago);
    let page = render(&view, Format::PrometheusText).unwrap();
    assert_eq!(value(&page, "had_up"), Some("0.0"), "{page}");
    assert!(value(&page, "had_status_age_seconds").is_some());
    assert!(!page.contains("had_group"), "{page}");
}

#[test]
fn the_format_is_what_the_client_accepts() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
    assert_eq!(Format::accepted("*/*"), Format::PrometheusText);
}
