use super::*;

#[test]
fn row_is_one_line_with_its_fields_in_one_order_and_nothing_empty() {
    let labels = Labels { run_url: "https://ci/1".to_owned(), commit: "abc".to_owned(), ..Labels::default() };
    let entry = Entry {
        who: Some("token:ci".parse().unwrap()),
        verb: Some(Verb::Write),
        version: Some(Version(3)),
        session: Some("run-1".parse().unwrap()),
        token: Some(Token(u64::MAX >> 1)),
        labels,
        from: Some("10.0.0.7".to_owned()),
        ..Entry::new(Deed::StateWrite, "prod/net")
    };
    let line = r#"{"n":12,"at":1700000000000,"who":"token:ci","verb":"write","act":"state.write","on":"prod/net","outcome":"done","version":3,"session":"run-1","token":"9223372036854775807","labels":{"run_url":"https://ci/1","commit":"abc"},"from":"10.0.0.7"}"#;
    assert_eq!(entry.line(12, WallTime(1_700_000_000_000)), line);
    let bare = Entry { count: 7, ..Entry::new(Deed::Unauthenticated, "/") };
    assert_eq!(bare.line(1, WallTime(0)), r#"{"n":1,"at":0,"act":"unauthenticated","on":"/","outcome":"done","count":7}"#);
}

#[test]
fn deeds_are_said_in_one_word_each() {
    let words: std::collections::BTreeSet<_> = Deed::ALL.iter().map(|deed| deed.as_str()).collect();
    assert_eq!(words.len(), Deed::ALL.len());
    for deed in Deed::ALL {
        assert_eq!(serde_json::to_value(deed).unwrap(), deed.as_str());
    }
}
