use proptest::prelude::*;

use super::*;

fn text(lines: &[u8]) -> Result<Message<'_>, Refused> {
    Message::from_text(lines)
}

#[test]
fn sixteen_bytes_that_kill_3_0_6_are_merely_malformed() {
    let killer = b"###\n5:x=abc,%%%\n";
    assert!(matches!(split(killer), Err(Refused::Malformed(_))));
    assert!(matches!(
        Message::from_netstrings(b"5:x=abc,"),
        Err(Refused::Malformed(_))
    ));
}

#[test]
fn the_first_field_of_a_name_wins() {
    let m = Message::from_netstrings(b"6:(0)a=1,6:(0)a=2,").unwrap();
    assert_eq!(m.get("a"), Some(b"1".as_slice()));
    assert_eq!(m.get("b"), None);
}

#[test]
fn structs_and_lists_are_carried_and_unknown_types_refused() {
    for kind in 0..=9 {
        let bytes = format!("7:({kind})a=xy,");
        let parsed = Message::from_netstrings(bytes.as_bytes());
        assert_eq!(parsed.is_ok(), kind <= 5, "{kind}");
        if let Ok(m) = parsed {
            assert_eq!(m.to_netstrings(), format!("###\n{bytes}%%%\n").as_bytes());
        }
    }
}

#[test]
fn netstrings_that_lie_are_refused() {
    for bad in [
        "",
        "7",
        "7:",
        "7:(0)a=1",
        "7:(0)a=1,",
        "06:(0)a=1,",
        "+6:(0)a=1,",
        "5:(0)a=1,",
        "6:(0)a=1;",
        "6:(0)a11,",
        "5:(0)=1,",
        "1000000:(0)a=1,",
        "99999999999999999999:(0)a=1,",
        "6:(x)a=1,",
        "6:(0)a=\0,",
    ] {
        let parsed = Message::from_netstrings(bad.as_bytes());
        assert_eq!(parsed.is_ok(), bad.is_empty(), "{bad:?}");
    }
}

#[test]
fn text_has_one_spelling() {
    let m = text(b"a=two\x13lines\n(1)b=AP8=\n").unwrap();
    assert_eq!(m.get("a"), Some(b"two\nlines".as_slice()));
    assert_eq!(m.get("b"), Some([0, 255].as_slice()));
    for bad in [
        "(0)a=1\n",
        "(1)b=AP9=\n",
        "(1)b=AP8\n",
        "(1)b=A=8=\n",
        "(1)b=A\n",
        "(1)b=?P8=\n",
        "a=1",
        "a\n",
        "=1\n",
        "\n",
        "(6)a=1\n",
    ] {
        assert!(text(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn too_long_is_said_before_anything_is_read() {
    assert_eq!(split(&vec![b'#'; MAX_BYTES + 1]), Err(Refused::TooLong));
}

#[test]
fn a_text_message_without_fields_has_an_empty_body() {
    let d = split(b">>>\nauth=1 00\n<<<\n").unwrap();
    assert_eq!(
        (d.signed, d.index, d.digest),
        (b"".as_slice(), 1, b"00".as_slice())
    );
    assert!(split(b">>>\nauth=1 00\nx=y\n<<<\n").is_err());
}

proptest! {
    #[test]
    fn base64_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let mut encoded = Vec::new();
        base64_encode(&bytes, &mut encoded);
        prop_assert_eq!(base64_decode(&encoded), Some(bytes));
    }

    #[test]
    fn nothing_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _one_of_them_may_be_valid = (
            split(&bytes),
            Message::from_netstrings(&bytes),
            Message::from_text(&bytes),
        );
    }

    /// Random letters of the grammar reach further into it than random bytes.
    #[test]
    fn nothing_panics_on_words_of_the_grammar(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "###\n", "%%%\n", ">>>\n", "<<<\n", "auth=", "1 ", "6:", "(0)", "(1)", "(9)", "a=1", ",", "=", "\n", "\0", "AP8=",
            ]),
            0..12,
        ),
        head in prop::sample::select(vec!["###\n", ">>>\n", ""]),
    ) {
        let bytes = format!("{head}{}", words.concat()).into_bytes();
        if let Ok(datagram) = split(&bytes) {
            let _may_be_valid = datagram.fields();
        }
        if let Ok(m) = Message::from_netstrings(&bytes) {
            let whole = m.to_netstrings();
            let body = &whole[NET_HEAD.len()..whole.len() - NET_TAIL.len()];
            prop_assert_eq!(body, bytes.as_slice());
        }
    }
}
