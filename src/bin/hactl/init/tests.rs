use super::*;

fn args(words: &str) -> Init {
    use clap::Parser as _;
    let all = ["hactl", "init"]
        .into_iter()
        .chain(words.split_whitespace());
    match crate::args::Cli::try_parse_from(all).unwrap().command {
        crate::args::Command::Init(init) => init,
        _ => unreachable!(),
    }
}

fn answered(options: &str, input: &str) -> (Result<Answers, String>, String) {
    let mut shown = Vec::new();
    let mut questions = Questions::new(input.as_bytes(), &mut shown);
    let answers = ask_for_missing(args(options), &mut questions);
    (answers, String::from_utf8(shown).unwrap())
}

#[test]
fn what_is_missing_is_asked_and_wrong_answers_are_asked_again() {
    let (answers, shown) = answered(
        "",
        "alice\nAlice=192.0.2.1\nalice=192.0.2.2\nbob=192.0.2.2\n\neth 0\neth7\n192.0.2.9\n192.0.2.1/24\n192.0.2.9/24\nx\n\n\
         nginx systemd::php\n",
    );
    let answers = answers.unwrap_or_else(|e| panic!("{e}\n{shown}"));
    let nodes = [("alice", "192.0.2.1"), ("bob", "192.0.2.2")];
    assert_eq!(
        answers.nodes,
        nodes.map(|(n, a)| (n.to_owned(), a.parse().unwrap()))
    );
    assert_eq!(answers.interface, "eth7");
    assert_eq!(answers.addresses, ["192.0.2.9/24/eth7"]);
    assert_eq!(answers.resources, ["nginx", "systemd::php"]);
    assert!(answers.pings.is_empty());
    for why in [
        "`alice` has no address",
        "named twice",
        "not the name of an interface",
        "no prefix length",
        "which never moves",
        "not an IP address",
    ] {
        assert!(shown.contains(why), "{why} is missing in\n{shown}");
    }
}

#[test]
fn only_what_is_missing_is_asked() {
    let options = "--node a=192.0.2.1 --node b=192.0.2.2 --interface eth0 --address 192.0.2.9/24";
    let (answers, shown) = answered(options, "192.0.2.254\n");
    assert_eq!(answers.unwrap().pings.len(), 1);
    assert_eq!(shown.matches("Ping node").count(), 1);
    assert!(!shown.contains("Interface"), "{shown}");
    let (answers, _) = answered(options, "");
    assert_eq!(
        answers.err().as_deref(),
        Some("no answer; nothing was written")
    );
}

#[test]
fn no_address_has_two_meanings() {
    let judged = |more: &str| {
        let options = format!("--interface eth0 --node a=192.0.2.1 --node b=192.0.2.2 {more}");
        let answers = take_options(args(&options)).map_err(|f| f.text)?;
        judge(&answers)
    };
    assert_eq!(judged("--address 192.0.2.9/24 --ping 192.0.2.254"), Ok(()));
    for (more, says) in [
        (
            "--address 192.0.2.1/24",
            "is the address of a, which never moves",
        ),
        (
            "--address 192.0.2.9/24 --ping 192.0.2.2",
            "is the address of b; a ping node",
        ),
        (
            "--address 192.0.2.9/24 --ping 192.0.2.9",
            "is a virtual address; a ping node",
        ),
        (
            "--address 192.0.2.9/24 --node c=192.0.2.2",
            "b and c have the same address",
        ),
        ("", "--address is missing"),
        ("--address 192.0.2.9", "has no prefix length"),
    ] {
        let said = judged(more).err().unwrap_or_default();
        assert!(said.contains(says), "{more}: {said}");
    }
}
