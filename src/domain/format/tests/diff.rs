use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{
        Format, FormatError,
        diff::{Change, ChangeKind, Diff, MAX_ATTRIBUTES, MAX_CHANGES, MAX_TEXT, Subject, diff},
    },
    tree,
};
use ChangeKind::{Added, Changed, Removed};

fn state(resources: Value, outputs: Value) -> Value {
    json!({"version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "l", "outputs": outputs, "resources": resources, "check_results": null})
}

fn resource(module: Option<&str>, mode: &str, name: &str, instances: Value) -> Value {
    let mut resource = json!({"mode": mode, "type": "aws_subnet", "name": name, "provider": "p", "instances": instances});
    if let Some(module) = module {
        resource["module"] = json!(module);
    }
    resource
}

fn instance(key: Value, attributes: Value) -> Value {
    let mut instance = json!({"schema_version": 1, "attributes": attributes, "sensitive_attributes": []});
    if !key.is_null() {
        instance["index_key"] = key;
    }
    instance
}

fn one(instance: Value) -> Value {
    state(json!([resource(None, "managed", "a", json!([instance]))]), json!({}))
}

fn compared(format: Format, old: &Value, new: &Value) -> Diff {
    diff(format, &serde_json::to_vec_pretty(old).unwrap(), &serde_json::to_vec(new).unwrap()).unwrap()
}

fn terraform(old: &Value, new: &Value) -> Vec<(ChangeKind, String, String)> {
    let diff = compared(Format::Terraform, old, new);
    assert_eq!((diff.equal, diff.bytes_only, diff.truncated), (diff.changes.is_empty(), false, false));
    diff.changes.into_iter().map(|change| (change.kind, change.address, change.attributes.join(" "))).collect()
}

fn row(kind: ChangeKind, address: &str, attributes: &str) -> (ChangeKind, String, String) {
    (kind, address.to_owned(), attributes.to_owned())
}

#[test]
fn terraform_diff_names_instances_as_terraform_does() {
    let old = state(
        json!([
            resource(
                Some("module.net"),
                "managed",
                "a",
                json!([instance(json!("x"), json!({"cidr": "S3CRET-1", "id": "i"})), instance(json!("gone"), json!({}))])
            ),
            resource(None, "data", "d", json!([instance(Value::Null, json!({"v": 1}))])),
            resource(
                None,
                "managed",
                "counted",
                json!([
                    instance(json!(0), json!({"v": 1})),
                    instance(json!(2), json!({"v": 1})),
                    instance(json!(10), json!({"v": 1}))
                ])
            ),
            resource(None, "managed", "dropped", json!([instance(Value::Null, json!({}))])),
        ]),
        json!({}),
    );
    let mut deposed = instance(Value::Null, json!({"v": 1}));
    deposed["deposed"] = json!("abcd1234");
    let new = state(
        json!([
            resource(
                None,
                "managed",
                "counted",
                json!([
                    instance(json!(10), json!({"v": 2})),
                    instance(json!(2), json!({"v": 1})),
                    instance(json!("0"), json!({"v": 1}))
                ])
            ),
            resource(None, "data", "d", json!([instance(Value::Null, json!({"v": 2})), deposed])),
            resource(
                Some("module.net"),
                "managed",
                "a",
                json!([
                    instance(json!("x"), json!({"cidr": "S3CRET-2", "id": "i", "new": "S3CRET-3"})),
                    instance(json!("q\"${é"), json!({}))
                ])
            ),
        ]),
        json!({}),
    );
    let expected = [
        row(Changed, "data.aws_subnet.d", "v"),
        row(Added, "data.aws_subnet.d (deposed abcd1234)", ""),
        row(Removed, "aws_subnet.counted[0]", ""),
        row(Changed, "aws_subnet.counted[10]", "v"),
        row(Added, "aws_subnet.counted[\"0\"]", ""),
        row(Removed, "aws_subnet.dropped", ""),
        row(Removed, "module.net.aws_subnet.a[\"gone\"]", ""),
        row(Added, "module.net.aws_subnet.a[\"q\\\"$${é\"]", ""),
        row(Changed, "module.net.aws_subnet.a[\"x\"]", "cidr new"),
    ];
    assert_eq!(terraform(&old, &new), expected);
    assert!(!format!("{:?}", compared(Format::Terraform, &old, &new)).contains("S3CRET"));
}

#[test]
fn terraform_diff_ignores_what_means_nothing() {
    let step = |name: &str| json!([{"type": "get_attr", "value": name}]);
    let mut old = one(instance(Value::Null, json!({"a": {"x": [1, "é"], "y": null}})));
    let mut new = old.clone();
    new["serial"] = json!(9);
    new["lineage"] = json!("other");
    new["terraform_version"] = json!("1.12.0");
    new.as_object_mut().unwrap().remove("check_results");
    assert_eq!(terraform(&old, &new), []);

    new["resources"][0]["instances"][0].as_object_mut().unwrap().remove("sensitive_attributes");
    assert_eq!(terraform(&old, &new), []);
    assert_eq!(terraform(&new, &old), []);

    old["resources"][0]["instances"][0]["sensitive_attributes"] = json!([step("a"), step("b"), step("c")]);
    new["resources"][0]["instances"][0]["sensitive_attributes"] = json!([step("c"), step("a"), step("b")]);
    assert_eq!(terraform(&old, &new), []);
    new["resources"][0]["instances"][0]["sensitive_attributes"] = json!([step("c"), step("a"), step("d")]);
    assert_eq!(terraform(&old, &new), [row(Changed, "aws_subnet.a", "(sensitive_attributes)")]);
    new["resources"][0]["instances"][0]["sensitive_attributes"] = json!([]);
    assert_eq!(terraform(&old, &new), [row(Changed, "aws_subnet.a", "(sensitive_attributes)")]);

    let odd = br#" {"resources":[{"name":"\u0061","instances":[{"attributes":{"b":"\/","a":1},"schema_version":0}],"type":"t","mode":"managed"}],"version":4} "#;
    let even = br#"{"version":4,"resources":[{"mode":"managed","type":"t","name":"a","instances":[{"schema_version":0,"attributes":{"a":1,"b":"/"}}]}]}"#;
    assert_eq!(diff(Format::Terraform, odd, even).unwrap(), Diff { equal: true, ..Diff::default() });
}

#[test]
fn terraform_diff_tells_settings_beside_the_attributes() {
    let old = one(instance(Value::Null, json!({"a": 1})));
    let mut new = old.clone();
    new["resources"][0]["provider"] = json!("q");
    new["resources"][0]["instances"][0]["status"] = json!("tainted");
    new["resources"][0]["instances"][0]["attributes"]["a"] = json!(1.0);
    new["check_results"] = json!([]);
    assert_eq!(terraform(&old, &new), [row(Added, "/check_results", ""), row(Changed, "aws_subnet.a", "a (status) (provider)")]);
}

#[test]
fn terraform_diff_lists_outputs() {
    let old = state(
        json!([]),
        json!({"a": {"value": "S3CRET", "type": "string"}, "b": {"value": 1, "type": "number"}, "c": {"value": 1, "type": "number"}}),
    );
    let new = state(
        json!([]),
        json!({"a": {"value": "S3CRET", "type": "string", "sensitive": true}, "b": {"value": 2, "type": "number"}, "d": {"value": 1, "type": "number"}}),
    );
    let expected = [row(Changed, "a", "sensitive"), row(Changed, "b", "value"), row(Removed, "c", ""), row(Added, "d", "")];
    assert_eq!(terraform(&old, &new), expected);
    assert!(compared(Format::Terraform, &old, &new).changes.iter().all(|change| change.what == Subject::Output));
    let mut none = old.clone();
    none.as_object_mut().unwrap().remove("outputs");
    assert_eq!(terraform(&none, &old).len(), 3);
}

#[test]
fn terraform_diff_of_odd_documents_falls_back_to_values() {
    let old = json!({"version": 4, "resources": [{"type": "a"}], "serial": 1});
    let new = json!({"version": 4, "resources": [{"type": "b"}], "serial": 2});
    assert_eq!(terraform(&old, &new), [row(Changed, "/resources/0/type", ""), row(Changed, "/serial", "")]);
    let odd = one(json!({"attributes": "S3CRET"}));
    assert_eq!(terraform(&odd, &one(json!({"attributes": 1}))), [row(Changed, "aws_subnet.a", "(attributes)")]);
}

#[test]
fn terraform_diff_pairs_repeated_addresses_in_order() {
    let twice = |a: u8, b: u8| {
        state(
            json!([resource(
                None,
                "managed",
                "a",
                json!([instance(Value::Null, json!({"v": a})), instance(Value::Null, json!({"v": b}))])
            )]),
            json!({}),
        )
    };
    assert_eq!(terraform(&twice(1, 2), &twice(1, 3)), [row(Changed, "aws_subnet.a", "v")]);
}

#[test]
fn instance_keys_of_every_kind_are_in_one_order() {
    let keys = [
        json!(100),
        json!(u64::MAX),
        json!(2),
        json!(1e30),
        json!(20),
        json!(1.5),
        json!("2"),
        json!("100"),
        json!(-3),
        Value::Null,
    ];
    let instances: Vec<_> =
        keys.iter().cycle().take(60).enumerate().map(|(n, key)| instance(key.clone(), json!({"n": n}))).collect();
    let mut reversed = instances.clone();
    reversed.reverse();
    let (old, new) = (resource(None, "managed", "a", json!(instances)), resource(None, "managed", "a", json!(reversed)));
    let found = terraform(&state(json!([old]), json!({})), &state(json!([new]), json!({})));
    assert!(found.iter().all(|(kind, ..)| *kind == Changed), "{found:?}");
}

#[test]
fn pulumi_diff_goes_by_urn_and_ignores_ciphertext() {
    let secret = |text: &str| json!({"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": text});
    let stack =
        |resources: Value, time: &str| json!({"version": 3, "deployment": {"manifest": {"time": time}, "resources": resources}});
    let old = stack(
        json!([
            {"urn": "urn:a", "id": "1", "inputs": {"size": 1, "pw": secret("c1"), "same": [1]}, "outputs": {"arn": "S3CRET"}},
            {"urn": "urn:b"}, {"urn": "urn:quiet", "inputs": {"pw": [secret("c1")]}, "beside": secret("c1")}
        ]),
        "t1",
    );
    let new = stack(
        json!([
            {"urn": "urn:quiet", "inputs": {"pw": [secret("c9")]}, "beside": secret("c9")},
            {"urn": "urn:a", "id": "2", "inputs": {"size": 2, "pw": secret("c2"), "same": [1]}, "outputs": {}},
            {"urn": "urn:b", "delete": true}, {"urn": "urn:b"}
        ]),
        "t2",
    );
    let found = compared(Format::Pulumi, &old, &new).changes;
    let expected = [(Changed, "urn:a", "(id) inputs.size outputs.arn"), (Added, "urn:b (pending deletion)", "")];
    let found: Vec<_> = found.iter().map(|change| (change.kind, &*change.address, change.attributes.join(" "))).collect();
    assert_eq!(found, expected.map(|(kind, address, attributes)| (kind, address, attributes.to_owned())));

    let unsealed = stack(json!([{"urn": "urn:quiet", "inputs": {"pw": ["hunter2"]}}]), "t");
    let sealed = stack(json!([{"urn": "urn:quiet", "inputs": {"pw": [secret("c")]}}]), "t");
    assert_eq!(compared(Format::Pulumi, &unsealed, &sealed).changes[0].attributes, ["inputs.pw"]);

    let holding = |value: Value| stack(json!([{"urn": "urn:a", "outputs": {"v": value}}]), "t");
    let mut opened = secret("c1");
    opened["plaintext"] = opened.as_object_mut().unwrap().remove("ciphertext").unwrap();
    let mut other = opened.clone();
    other["plaintext"] = json!("c2");
    for (old, new) in [(opened, other.clone()), (secret("c1"), other), (json!({"ciphertext": "c1"}), json!({"ciphertext": "c2"}))]
    {
        assert_eq!(compared(Format::Pulumi, &holding(old), &holding(new)).changes[0].attributes, ["outputs.v"]);
    }

    let checkpoint = |pending: Value| json!({"version": 3, "checkpoint": {"latest": {"pending_operations": pending}}});
    let found = compared(Format::Pulumi, &checkpoint(json!([1])), &checkpoint(json!([2]))).changes;
    assert!(compared(Format::Pulumi, &checkpoint(json!([secret("c1")])), &checkpoint(json!([secret("c2")]))).equal);
    assert_eq!((found.len(), &*found[0].address, found[0].what), (1, "/checkpoint/latest/pending_operations", Subject::Value));
}

#[test]
fn opaque_diff_compares_bytes() {
    assert_eq!(diff(Format::Opaque, b"{}", b"{ }").unwrap(), Diff { bytes_only: true, ..Diff::default() });
    assert_eq!(diff(Format::Opaque, b"\xff", b"\xff").unwrap(), Diff { bytes_only: true, equal: true, ..Diff::default() });
    assert!(matches!(diff(Format::Json, b"{}", b"{"), Err(FormatError::NotJson(_))));
}

#[test]
fn json_diff_stays_within_its_limits() {
    let many = |value: usize| json!((0..MAX_CHANGES + 1).map(|index| index * value).collect::<Vec<_>>());
    let found = compared(Format::Json, &many(1), &many(2));
    assert_eq!((found.changes.len(), found.truncated), (MAX_CHANGES, false));
    let found = compared(Format::Json, &json!([many(1), 1]), &json!([many(2), 2]));
    assert_eq!((found.changes.len(), found.truncated, found.equal), (MAX_CHANGES, true, false));

    let long = "k".repeat(MAX_TEXT + 1);
    let found = compared(Format::Json, &json!({}), &json!({ &*long: 1 }));
    assert_eq!(found, Diff { truncated: true, ..Diff::default() });

    let wide =
        |value: u8| one(instance(Value::Null, (0..=MAX_ATTRIBUTES).map(|index| (format!("a{index}"), json!(value))).collect()));
    let found = compared(Format::Terraform, &wide(1), &wide(2));
    assert_eq!((found.changes[0].attributes.len(), found.truncated), (MAX_ATTRIBUTES, true));
}

#[test]
fn json_diff_shows_no_control_characters() {
    let found = compared(Format::Json, &json!({}), &json!({"\u{1b}[31m": 1}));
    let shown = Change { kind: Added, what: Subject::Value, address: "/\\u001b[31m".into(), attributes: vec![] };
    assert_eq!(found.changes, [shown]);
}

/// The same rules on values that serde_json has built.
fn expected(old: &Value, new: &Value, path: &str, found: &mut BTreeSet<(u8, String)>) {
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()) {
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => expected(a, b, &below(key), found),
                    (None, _) => drop(found.insert((Added as u8, below(key)))),
                    (_, None) => drop(found.insert((Removed as u8, below(key)))),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            let common = a.len().min(b.len());
            (0..common).for_each(|index| expected(&a[index], &b[index], &below(&index.to_string()), found));
            found.extend((common..a.len()).map(|index| (Removed as u8, below(&index.to_string()))));
            found.extend((common..b.len()).map(|index| (Added as u8, below(&index.to_string()))));
        }
        _ if old == new => {}
        _ => drop(found.insert((Changed as u8, path.to_owned()))),
    }
}

proptest! {
    #[test]
    fn json_diff_of_one_value_written_twice_is_equal(tree in tree(), styles: (u64, u64)) {
        let found = diff(Format::Json, &tree.written(styles.0), &tree.written(styles.1)).unwrap();
        prop_assert_eq!(found, Diff { equal: true, ..Diff::default() });
    }

    #[test]
    fn json_diff_agrees_with_one_on_built_values(trees in (tree(), tree()), shared in tree(), styles: (u64, u64)) {
        let wrap = |tree| super::Tree::Object(vec![("same".into(), shared.clone()), ("list".into(), super::Tree::List(vec![tree]))]);
        let (old, new) = (wrap(trees.0).written(styles.0), wrap(trees.1).written(styles.1));
        let found = diff(Format::Json, &old, &new).unwrap();
        let mut paths = BTreeSet::new();
        expected(&serde_json::from_slice(&old).unwrap(), &serde_json::from_slice(&new).unwrap(), "", &mut paths);
        let printable = |text: &str| text.chars().map(|c| if c.is_control() { format!("\\u{:04x}", c as u32) } else { c.to_string() }).collect::<String>();
        let paths: BTreeSet<_> = paths.into_iter().map(|(kind, path)| (kind, printable(&path))).collect();
        prop_assert_eq!(found.equal, paths.is_empty());
        prop_assert_eq!(found.changes.len(), paths.len());
        prop_assert_eq!(found.changes.into_iter().map(|change| (change.kind as u8, change.address)).collect::<BTreeSet<_>>(), paths);
    }
}
