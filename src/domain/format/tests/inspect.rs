use proptest::prelude::*;

use super::{
    super::{Format, FormatError, Inspected, TerraformHeader, inspect, json::JsonErrorKind, with_serial},
    Style, Tree, tree,
};

const STATE: &str = r#"{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": 7,
  "lineage": "6f2c1d1e-0000-4000-8000-000000000001",
  "outputs": {},
  "resources": [{"mode": "managed", "type": "a", "name": "b", "instances": [{"attributes": {"serial": 7, "lineage": "x"}}]}],
  "check_results": null
}
"#;
const ENVELOPE: &str = r#"{"serial":5,"lineage":"3c1b7a52","meta":{"key_provider.pbkdf2.k":"e30="},"encrypted_data":"AAAA","encryption_version":"v0"}"#;

fn header(lineage: &str, serial: u64) -> Option<TerraformHeader> {
    Some(TerraformHeader { lineage: lineage.to_owned(), serial })
}

#[test]
fn inspect_finds_the_format() {
    let table = [
        (STATE, Format::Terraform, header("6f2c1d1e-0000-4000-8000-000000000001", 7)),
        (r#"{"version":4,"serial":18446744073709551615,"lineage":"x"}"#, Format::Terraform, header("x", u64::MAX)),
        (r#"{"\u0076ersion":4,"seri\u0061l":0,"lineag\u0065":"\u0078"}"#, Format::Terraform, header("x", 0)),
        (ENVELOPE, Format::Opaque, header("3c1b7a52", 5)),
        (r#"{"encrypted_data":"AAAA","encryption_version":"v0"}"#, Format::Opaque, None),
        (r#"{"serial":5,"encrypted_data":"AAAA","encryption_version":"v0"}"#, Format::Opaque, None),
        (r#"{"version":1,"encrypted_data":"AAAA","encryption_version":"v0"}"#, Format::Json, None),
        (r#"{"encrypted_data":"AAAA","encryption_version":""}"#, Format::Json, None),
        (r#"{"version":3,"deployment":{"manifest":{}}}"#, Format::Pulumi, None),
        (r#"{"version":3,"checkpoint":{"latest":{}}}"#, Format::Pulumi, None),
        (r#"{"version":"3","deployment":{}}"#, Format::Json, None),
        (r#"{"deployment":{}}"#, Format::Json, None),
        (r#"{"version":3,"deployment":null}"#, Format::Json, None),
        (r#"{"version":4}"#, Format::Json, None),
        (r#"{"version":"4","serial":1,"lineage":"x"}"#, Format::Json, None),
        (r#"[{"version":4,"serial":1,"lineage":"x"}]"#, Format::Json, None),
        (r#"{"state":{"version":4,"serial":1,"lineage":"x"}}"#, Format::Json, None),
        ("1e400", Format::Json, None),
    ];
    for (document, format, terraform) in table {
        assert_eq!(inspect(document.as_bytes(), None), Ok(Inspected { format, terraform }), "{document}");
    }
}

#[test]
fn inspect_refuses_unsound_terraform_states_also_unasked() {
    let long = format!(r#"{{"version":4,"serial":1,"lineage":"{}"}}"#, "é".repeat(129));
    let longest = format!(r#"{{"version":4,"serial":1,"lineage":"{}"}}"#, "é".repeat(128));
    let table = [
        (r#"{"version":3,"serial":1,"lineage":"x"}"#, FormatError::TerraformVersion),
        (r#"{"version":5,"terraform_version":"9"}"#, FormatError::TerraformVersion),
        (r#"{"version":4.0,"serial":1,"lineage":"x"}"#, FormatError::TerraformVersion),
        (r#"{"version":4,"terraform_version":"1.11.4","lineage":"x"}"#, FormatError::SerialMissing),
        (r#"{"version":4,"terraform_version":"1.11.4","serial":1}"#, FormatError::LineageMissing),
        (r#"{"version":4,"serial":"1","lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":-1,"lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":-0,"lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":1.0,"lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":1e0,"lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":18446744073709551616,"lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":null,"lineage":"x"}"#, FormatError::SerialInvalid),
        (r#"{"version":4,"serial":1,"lineage":""}"#, FormatError::LineageInvalid),
        (r#"{"version":4,"serial":1,"lineage":7}"#, FormatError::LineageInvalid),
        (r#"{"version":4,"serial":1,"lineage":"a\u0000"}"#, FormatError::LineageInvalid),
        (&long, FormatError::LineageInvalid),
    ];
    for (document, error) in table {
        assert_eq!(inspect(document.as_bytes(), None), Err(error), "{document}");
        assert_eq!(inspect(document.as_bytes(), Some(Format::Terraform)), Err(error), "{document}");
        assert_eq!(inspect(document.as_bytes(), Some(Format::Json)).map(|found| found.terraform), Ok(None));
    }
    assert_eq!(inspect(longest.as_bytes(), None).unwrap().terraform.unwrap().serial, 1);
}

#[test]
fn inspect_refuses_unsound_headers_of_envelopes() {
    let table = [
        (r#"{"serial":"5","lineage":"x","encrypted_data":"A","encryption_version":"v0"}"#, FormatError::SerialInvalid),
        (r#"{"serial":5,"lineage":"","encrypted_data":"A","encryption_version":"v0"}"#, FormatError::LineageInvalid),
    ];
    for (document, error) in table {
        assert_eq!(inspect(document.as_bytes(), None), Err(error), "{document}");
        let asked = Inspected { format: Format::Opaque, terraform: None };
        assert_eq!(inspect(document.as_bytes(), Some(Format::Opaque)), Ok(asked), "{document}");
    }
}

#[test]
fn inspect_asked_holds_the_document_to_it() {
    assert_eq!(inspect(ENVELOPE.as_bytes(), Some(Format::Terraform)), Err(FormatError::Encrypted));
    assert_eq!(inspect(b"[]", Some(Format::Terraform)), Err(FormatError::NotTerraform));
    assert_eq!(
        inspect(b"{\"version\":\"4\",\"serial\":1,\"lineage\":\"x\"}", Some(Format::Terraform)),
        Err(FormatError::NotTerraform)
    );
    assert_eq!(inspect(STATE.as_bytes(), Some(Format::Pulumi)), Err(FormatError::NotPulumi));
    assert_eq!(inspect(STATE.as_bytes(), Some(Format::Json)).unwrap(), Inspected { format: Format::Json, terraform: None });
    assert_eq!(inspect(STATE.as_bytes(), Some(Format::Opaque)).unwrap(), Inspected { format: Format::Opaque, terraform: None });
    assert_eq!(inspect(ENVELOPE.as_bytes(), Some(Format::Opaque)).unwrap().terraform, header("3c1b7a52", 5));
}

#[test]
fn inspect_never_finds_opaque_in_what_is_not_json() {
    for asked in [None, Some(Format::Terraform), Some(Format::Pulumi), Some(Format::Json)] {
        let error = inspect(b"{\"hunter2\": ", asked).unwrap_err();
        assert!(matches!(error, FormatError::NotJson(cause) if cause.kind == JsonErrorKind::UnexpectedEnd && cause.at == 12));
        assert!(error.to_string().contains("at byte 12; correct the document, or ask for the format `opaque`"), "{error}");
        assert!(!format!("{error}{error:?}").contains("hunter2"));
        assert_eq!(inspect(b"", asked), Err(FormatError::Empty));
    }
    assert_eq!(inspect(b"", Some(Format::Opaque)), Err(FormatError::Empty));
    assert_eq!(inspect(b"\xff\x00", Some(Format::Opaque)), Ok(Inspected { format: Format::Opaque, terraform: None }));
    assert!(inspect(STATE.replace("\"serial\": 7,\n", "\"serial\": 7, \"serial\": 8,\n").as_bytes(), None).is_err());
}

#[test]
fn format_name_goes_both_ways() {
    for format in [Format::Terraform, Format::Pulumi, Format::Json, Format::Opaque] {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
        assert_eq!(serde_json::from_str::<Format>(&format!("\"{format}\"")).unwrap(), format);
    }
    assert!("Terraform".parse::<Format>().is_err());
}

#[test]
fn with_serial_changes_only_the_outermost_serial() {
    let changed = with_serial(STATE.as_bytes(), u64::MAX).unwrap();
    assert_eq!(changed, STATE.replacen("\"serial\": 7", "\"serial\": 18446744073709551615", 1).into_bytes());
    assert_eq!(with_serial(&changed, 7).unwrap(), STATE.as_bytes());
}

#[test]
fn with_serial_leaves_what_is_no_terraform_state() {
    assert_eq!(with_serial(ENVELOPE.as_bytes(), 6), Err(FormatError::EnvelopeKept));
    assert_eq!(with_serial(b"{\"serial\":1}", 6), Err(FormatError::NotTerraform));
    assert_eq!(with_serial(b"{\"version\":4,\"lineage\":\"x\"}", 6), Err(FormatError::SerialMissing));
    assert!(matches!(with_serial(b"x", 6), Err(FormatError::NotJson(_))));
}

proptest! {
    #[test]
    fn with_serial_keeps_every_other_byte(before in tree(), after in tree(), old: u64, new: u64, style: u64, first in 0..3_usize) {
        let mut style = Style(style);
        let mut members = [("version", Tree::Plain("4")), ("lineage", Tree::Text("\"l".into())), ("a", before), ("b", after)];
        members.rotate_left(first);
        let mut document = b"{".to_vec();
        let mut around = None;
        for (index, (key, value)) in members.iter().enumerate() {
            style.string(key, &mut document);
            document.push(b':');
            value.write(&mut style, &mut document);
            document.push(b',');
            if index == first {
                style.string("serial", &mut document);
                style.blank(&mut document);
                document.push(b':');
                style.blank(&mut document);
                let start = document.len();
                document.extend_from_slice(old.to_string().as_bytes());
                around = Some((start, document.len()));
                style.blank(&mut document);
                document.push(b',');
            }
        }
        document.extend_from_slice(b"\"end\":0}\n");
        let (start, end) = around.unwrap();
        let changed = with_serial(&document, new).unwrap();
        prop_assert_eq!(inspect(&changed, None).unwrap().terraform, header("\"l", new));
        prop_assert_eq!([&document[..start], new.to_string().as_bytes(), &document[end..]].concat(), changed);
    }
}
