//! What is sealed is what should be, neither more nor less.

use std::collections::BTreeSet;

use leasehold::domain::format::Format;
use serde_json::{Value, json};

use crate::support::{places, search};

#[test]
fn precision_real_states_are_sealed_as_their_golden_lists_say() {
    let cases = [
        ("objects", &include_bytes!("golden/objects.tfstate")[..], include_str!("golden/objects.sealed")),
        ("modules", include_bytes!("golden/modules.tfstate"), include_str!("golden/modules.sealed")),
        ("encodings", include_bytes!("golden/encodings.tfstate"), include_str!("golden/encodings.sealed")),
    ];
    for (name, state, golden) in cases {
        let found = search(state, Format::Terraform);
        let line = |hole: &leasehold::secrets::hole::Hole| format!("{:?} {:?} {}\n", hole.reason, hole.kind, hole.path);
        let sealed: String = found.holes.iter().map(line).collect();
        assert_eq!(sealed, golden, "{name} is sealed as:\n{sealed}");
        assert!(found.warnings.is_empty() && !found.overflow, "{name}: {:?}", found.warnings);
    }
}

/// Numbers that look drawn, the same every time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn hexadecimal(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from_digit((self.next() % 16) as u32, 16).unwrap()).collect()
    }
}

/// A resource as providers write them, and which of its attributes are secret.
fn resource(index: usize, draw: &mut Draw, secret: bool) -> (Value, Vec<&'static str>) {
    let kinds = [
        "aws_db_instance",
        "aws_instance",
        "aws_security_group",
        "aws_iam_role",
        "aws_subnet",
        "aws_lb_listener",
        "aws_s3_bucket",
    ];
    let kind = kinds[index % kinds.len()];
    let mut attributes = json!({
        "arn": format!("arn:aws:rds:eu-west-1:{}:{kind}/{}", 100_000_000_000 + draw.next(), draw.hexadecimal(17)),
        "availability_zone": "eu-west-1a",
        "cidr_blocks": (0..3).map(|_| format!("10.{}.{}.0/24", draw.next() % 256, draw.next() % 256)).collect::<Vec<_>>(),
        "created": "2026-03-14T07:17:08Z",
        "description": "managed by terraform, owned by the platform team",
        "id": format!("{}-{}", &kind[4..7], draw.hexadecimal(17)),
        "monitoring_interval": draw.next() % 60,
        "tags": {"Name": format!("{kind}-{index}"), "cost-center": draw.next().to_string(), "team": "core"},
        "timeouts": null,
        "vpc_security_group_ids": [format!("sg-{}", draw.hexadecimal(17))],
    });
    let (mut marks, mut expected) = (json!([]), Vec::new());
    if secret {
        let value = draw.hexadecimal(24);
        marks = json!([[{"type": "get_attr", "value": "final_snapshot"}]]);
        expected.push("final_snapshot");
        if index.is_multiple_of(5) {
            attributes["bootstrap"] = format!("#!/bin/sh\nexport APP_DSN='{value}'\nexec app --verbose\n").into();
            expected.push("bootstrap");
        }
        if index.is_multiple_of(10) {
            attributes["connection"] = format!("postgres://app:{value}@db-{index}.internal:5432/app").into();
            expected.push("connection");
        }
        attributes["final_snapshot"] = value.into();
    }
    let instance = json!({
        "schema_version": 1, "attributes": attributes, "sensitive_attributes": marks,
        "private": "eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ==", "dependencies": [format!("aws_subnet.r{}", index.saturating_sub(7))],
    });
    let resource = json!({
        "mode": "managed", "type": kind, "name": format!("r{index}"),
        "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]", "instances": [instance],
    });
    let place = |attribute: &&'static str| *attribute;
    (resource, expected.iter().map(place).collect())
}

#[test]
fn precision_a_generated_state_is_sealed_where_secrets_were_put() {
    let mut draw = Draw(7);
    let mut expected = BTreeSet::new();
    let mut resources = Vec::new();
    for index in 0..300 {
        let (resource, secret) = resource(index, &mut draw, index.is_multiple_of(3));
        let address = format!("{}.r{index}", resource["type"].as_str().unwrap());
        expected.extend(secret.into_iter().map(|attribute| format!("{address}.attributes.{attribute}")));
        resources.push(resource);
    }
    let state = json!({
        "version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "6f2c1d1e-0000-4000-8000-000000000001",
        "outputs": {}, "resources": resources, "check_results": null,
    });
    let found = search(&serde_json::to_vec_pretty(&state).unwrap(), Format::Terraform);
    assert_eq!(places(&found), expected);
    assert!(expected.len() > 100 && found.warnings.is_empty());
}

/// Names that have words of secrets in them or near them, with values that such attributes have.
const HARMLESS: &str = include_str!("golden/harmless.txt");

#[test]
fn precision_harmless_names_seal_nothing() {
    let names: Vec<(&str, &str)> = HARMLESS.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(names.len(), 200);
    assert_eq!(names.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), 200, "each once");
    let attributes: serde_json::Map<String, Value> =
        names.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let nested = serde_json::to_string(&attributes).unwrap();
    let state = json!({
        "version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {},
        "resources": [{
            "mode": "managed", "type": "made_up", "name": "all", "provider": "p",
            "instances": [{"schema_version": 0, "attributes": {"nested": nested, "block": [attributes.clone()]}, "sensitive_attributes": []},
                          {"schema_version": 0, "attributes": attributes, "sensitive_attributes": []}],
        }],
    });
    let bytes = serde_json::to_vec(&state).unwrap();
    assert_eq!(places(&search(&bytes, Format::Terraform)), BTreeSet::new());
    assert_eq!(places(&search(&serde_json::to_vec(&attributes).unwrap(), Format::Json)), BTreeSet::new());
}

#[test]
fn precision_names_of_secrets_seal_strings_and_nothing_else() {
    let document = json!({
        "db_password": "x", "adminPassword": "y", "client-secret": "z", "API_TOKEN": "t", "private_key": "k", "tokens": ["a", "b", 3, ["c"]],
        "password": null, "secret": "", "passwords": {"length": 5, "policy": "strict"}, "use_token": true, "token": 17,
        "env": [{"name": "DB_PASSWORD", "value": "v"}, {"value": "w", "name": "SMTP_PASS"}, {"name": "DB_HOST", "value": "h"}],
        "manage_password": "true", "kms_key": "arn:aws:kms:eu-west-1:1:key/1", "encryption_key": "arn:aws:kms:eu-west-1:1:key/1",
    });
    let found = search(&serde_json::to_vec(&document).unwrap(), Format::Json);
    let expected = [
        "API_TOKEN",
        "adminPassword",
        "client-secret",
        "db_password",
        "env[0].value",
        "env[1].value",
        "private_key",
        "tokens[0]",
        "tokens[1]",
        "tokens[3][0]",
    ];
    assert_eq!(places(&found), expected.map(str::to_owned).into());
}
