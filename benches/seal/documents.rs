//! Terraform states with many secrets, the same for the same seed. Secrets begin differently: alike ones would flatter any search.

use std::fmt::Write;

const KINDS: [&str; 7] =
    ["aws_db_instance", "aws_instance", "aws_security_group", "aws_iam_role", "aws_subnet", "aws_lb_listener", "aws_s3_bucket"];

/// How the secrets look.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Secrets {
    /// 16 to 40 hexadecimal digits.
    Short,
    /// A PEM private key of about 3 KB.
    Pem,
}

/// A state of at least `size` bytes as Terraform prints it, with `secrets` marked ones spread over it. Every fifth is repeated unmarked inside a
/// text, every tenth in a URL.
pub(crate) fn state(size: usize, secrets: usize, kind: Secrets, serial: u64) -> String {
    let mut out = String::with_capacity(size + size / 8);
    write!(
        out,
        "{{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"serial\": {serial},\n  \
         \"lineage\": \"6f2c1d1e-0000-4000-8000-000000000001\",\n  \"outputs\": {{}},\n  \"resources\": ["
    )
    .unwrap();
    let each = size / secrets;
    let mut written = 0;
    for index in 0.. {
        if out.len() >= size && written == secrets {
            break;
        }
        let secret = written < secrets && out.len() >= each * written;
        resource(&mut out, index, secret.then_some(kind));
        written += usize::from(secret);
    }
    out.push_str("\n  ],\n  \"check_results\": null\n}\n");
    out
}

fn resource(out: &mut String, index: usize, secret: Option<Secrets>) {
    let rng = &mut Rng(index as u64);
    let kind = KINDS[index % KINDS.len()];
    if index > 0 {
        out.push(',');
    }
    let mut line = |depth: usize, text: &str| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
        out.push_str(text);
    };
    let quoted = |name: &str, value: &str| format!("\"{name}\": \"{value}\",");
    line(2, "{");
    line(3, &quoted("mode", "managed"));
    line(3, &quoted("type", kind));
    line(3, &quoted("name", &format!("r{index}")));
    line(3, &quoted("provider", "provider[\\\"registry.terraform.io/hashicorp/aws\\\"]"));
    line(3, "\"instances\": [");
    line(4, "{");
    line(5, "\"schema_version\": 1,");
    line(5, "\"attributes\": {");
    line(6, &quoted("arn", &format!("arn:aws:rds:eu-west-1:{}:{kind}/{}", rng.next(), rng.hex(17))));
    line(6, &quoted("availability_zone", ["eu-west-1a", "eu-west-1b", "eu-west-1c"][rng.below(3)]));
    line(6, "\"cidr_blocks\": [");
    for n in 0..3 {
        let comma = if n < 2 { "," } else { "" };
        line(7, &format!("\"10.{}.{}.0/24\"{comma}", rng.below(256), rng.below(256)));
    }
    line(6, "],");
    line(6, &quoted("created", &format!("2026-0{}-1{}T0{}:17:0{}Z", 1 + rng.below(8), rng.below(9), rng.below(9), rng.below(9))));
    line(6, &quoted("description", "managed by terraform, owned by the platform team"));
    line(6, &quoted("id", &format!("{}-{}", &kind[4..7], rng.hex(17))));
    line(6, &format!("\"monitoring_interval\": {},", rng.below(60)));
    line(6, &format!("\"ratio\": 0.{},", rng.next()));
    line(6, "\"tags\": {");
    line(7, &quoted("Name", &format!("{kind}-{index}")));
    line(7, &quoted("cost-center", &rng.below(9999).to_string()));
    line(7, &format!("\"team\": \"{}\"", ["core", "edge", "data"][rng.below(3)]));
    line(6, "},");
    line(6, "\"timeouts\": null,");
    line(6, "\"vpc_security_group_ids\": [");
    line(7, &format!("\"sg-{}\",", rng.hex(17)));
    line(7, &format!("\"sg-{}\"", rng.hex(17)));
    line(6, if secret.is_some() { "]," } else { "]" });
    let mut marks = "\"sensitive_attributes\": [],".to_owned();
    if let Some(secret) = secret {
        let secret = match secret {
            Secrets::Short => {
                let length = 16 + rng.below(24);
                rng.hex(length)
            }
            Secrets::Pem => {
                let body: Vec<String> = (0..48).map(|_| rng.hex(64)).collect();
                format!("-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n", body.join("\\n"))
            }
        };
        if index.is_multiple_of(5) {
            line(6, &quoted("bootstrap", &format!("#!/bin/sh\\nexport APP_DSN='{secret}'\\nexec app --verbose\\n")));
        }
        if index.is_multiple_of(10) {
            line(6, &quoted("connection", &format!("postgres://app:{secret}@db-{index}.internal:5432/app")));
        }
        line(6, &format!("\"password\": \"{secret}\""));
        marks = "\"sensitive_attributes\": [\n            [\n              {\n                \"type\": \"get_attr\",\n                \
                 \"value\": \"password\"\n              }\n            ]\n          ],"
            .to_owned();
    }
    line(5, "},");
    line(5, &marks);
    line(5, &quoted("private", "eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ=="));
    line(5, "\"dependencies\": [");
    line(6, &format!("\"aws_subnet.r{}\"", index.saturating_sub(7)));
    line(5, "]");
    line(4, "}");
    line(3, "]");
    line(2, "}");
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn hex(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }
}
