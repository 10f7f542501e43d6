use std::fs;

use super::*;

/// What a folder with these two files says.
fn refused(older: Option<&str>, newer: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in recording_paths(folder.path()).iter().zip([older, newer]) {
        if let Some(text) = text {
            fs::write(path, text).unwrap();
        }
    }
    RecordingReader::open(folder.path()).unwrap_err()
}

#[test]
fn what_is_no_recording_is_refused_by_name() {
    assert!(refused(None, None).contains("write `record 16M` into ha.cf"));
    assert!(refused(None, Some("")).contains("there is no recording"));
    let foreign = "auth 1\n1 sha1 secret\n";
    let why = refused(None, Some(foreign));
    assert!(
        why.ends_with("/recording is not a recording of had"),
        "{why}"
    );
    let why = refused(Some(foreign), None);
    assert!(
        why.ends_with("/recording.old is not a recording of had"),
        "{why}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let why = RecordingReader::open(&path).unwrap_err();
    assert!(why.contains("No such file"), "{why}");
    fs::write(&path, "").unwrap();
    let why = RecordingReader::open(&path).unwrap_err();
    assert!(why.contains("is empty"), "{why}");
    fs::write(&path, [0xff; 4096]).unwrap();
    let why = RecordingReader::open(&path).unwrap_err();
    assert!(why.contains("not a recording of had"), "{why}");
}

#[test]
fn a_file_that_goes_wrong_after_its_first_bytes_is_damage_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    for (text, wanted) in [
        (&b"{\"had recording\":1,"[..], ":1: the line is cut off"),
        (b"{\"had recording\":1}\n{\"d\":1}\n", ":1: missing field"),
        (b"{\"had recording\":1,\xff\n", ":1: invalid utf-8"),
    ] {
        fs::write(&path, text).unwrap();
        let recording = RecordingReader::open(&path).unwrap();
        let items: Vec<RecordingItem> = recording.items().collect();
        let [RecordingItem::Unreadable(why)] = items.as_slice() else {
            panic!("{items:?}");
        };
        assert!(why.contains(wanted), "{why}");
    }
}

#[test]
fn a_file_that_took_the_place_of_the_older_meanwhile_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let [older, newer] = recording_paths(folder.path());
    fs::write(&newer, "{\"had recording\":1}\n").unwrap();
    fs::hard_link(&newer, &older).unwrap();
    let recording = RecordingReader::open(folder.path()).unwrap();
    assert_eq!(recording.items().count(), 1);
}
