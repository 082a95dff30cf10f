use super::*;
use crate::secrets::master::Masters;

const DOCUMENT: &[u8] = b"{\"password\": \"hunter2 & \xc3\xa9\"}\n";

struct Sealed {
    signer: SigningKey,
    reader: Identities,
    subject: Subject,
    bytes: Vec<u8>,
}

fn fixture() -> Sealed {
    let (signer, _) = SigningKey::create(&Masters::ephemeral(), EnvironmentId([0xe1; 16]), &[]).ok().unwrap();
    let reader = Identities::generate();
    let subject = Subject {
        state: "prod/network/eu".parse().unwrap(),
        state_id: StateId([0x51; 16]),
        version: Version(7),
        etag: Etag([0xa5; 16]),
    };
    let bytes = seal_for(&Recipient::of(reader.first()), &signer, &subject, DOCUMENT);
    Sealed { signer, reader, subject, bytes }
}

impl Sealed {
    fn trust(&self) -> Trust {
        Trust::Key(self.signer.verifying_key())
    }

    fn open(&self, bytes: &[u8], trust: Trust) -> Result<Vec<u8>, UnsealError> {
        unseal(bytes, &self.reader, trust).map(|(_, document)| document.to_vec())
    }

    /// The header with one text put in the place of another.
    fn with(&self, from: &str, to: &str) -> Vec<u8> {
        let at = self.bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&self.bytes[..at], to.as_bytes(), &self.bytes[at + from.len()..]].concat()
    }
}

#[test]
fn reader_gets_the_very_bytes_and_what_they_are() {
    let sealed = fixture();
    let (fields, document) = unseal(&sealed.bytes, &sealed.reader, sealed.trust()).unwrap();
    assert_eq!(document.as_slice(), DOCUMENT);
    assert_eq!((fields.subject, fields.environment), (sealed.subject.clone(), EnvironmentId([0xe1; 16])));
    assert_eq!((fields.recipient, fields.signer), (Recipient::of(sealed.reader.first()), sealed.signer.verifying_key()));
    assert_eq!(sealed.open(&sealed.bytes, Trust::DangerAnyone).as_deref(), Ok(DOCUMENT));
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let bytes = seal_for(&Recipient::of(sealed.reader.first()), &sealed.signer, &sealed.subject, &large);
    assert!(sealed.open(&bytes, sealed.trust()).is_ok_and(|document| document == large));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused_whoever_is_trusted() {
    let sealed = fixture();
    for trust in [sealed.trust(), Trust::DangerAnyone] {
        for bit in 0..sealed.bytes.len() * 8 {
            let mut bent = sealed.bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(sealed.open(&bent, trust).is_err(), "bit {bit}");
        }
        for cut in 0..sealed.bytes.len() {
            assert!(sealed.open(&sealed.bytes[..cut], trust).is_err(), "cut at {cut}");
        }
        assert_eq!(sealed.open(&[&sealed.bytes, b"x".as_slice()].concat(), trust), Err(UnsealError::Forged));
    }
}

#[test]
fn fields_of_another_document_do_not_go_with_this_one() {
    let sealed = fixture();
    for (from, to) in [
        ("environment: prod\n", "environment: dev\n"),
        ("environment-id: e1", "environment-id: e2"),
        ("state: network/eu\n", "state: network/us\n"),
        ("state-id: 51", "state-id: 52"),
        ("version: 7\n", "version: 8\n"),
        ("etag: a5", "etag: a6"),
    ] {
        assert_eq!(sealed.open(&sealed.with(from, to), sealed.trust()), Err(UnsealError::Forged), "{to}");
    }
    let other = fixture();
    let (ours, theirs) = (sealed.signer.verifying_key(), other.signer.verifying_key());
    let signed_by = |key: VerifyingKey| format!("signer: {key}\n");
    let replaced = sealed.with(&signed_by(ours), &signed_by(theirs));
    assert_eq!(sealed.open(&replaced, sealed.trust()), Err(UnsealError::Untrusted(theirs)));
    assert_eq!(sealed.open(&replaced, Trust::DangerAnyone), Err(UnsealError::Forged));
}

#[test]
fn one_who_knows_the_recipient_only_is_not_trusted() {
    let (sealed, forger) = (fixture(), fixture());
    let to = Recipient::of(sealed.reader.first());
    let forged = seal_for(&to, &forger.signer, &sealed.subject, b"{}");
    assert_eq!(sealed.open(&forged, sealed.trust()), Err(UnsealError::Untrusted(forger.signer.verifying_key())));
    assert_eq!(sealed.open(&forged, Trust::DangerAnyone).as_deref(), Ok(b"{}".as_slice()), "unless anyone is");
    // What was sealed to one reader, passed on to another as if the environment had.
    let passed = sealed.with(&format!("recipient: {to}\n"), &format!("recipient: {}\n", Recipient::of(forger.reader.first())));
    assert_eq!(forger.open(&passed, sealed.trust()), Err(UnsealError::Forged));
    assert_eq!(forger.open(&sealed.bytes, sealed.trust()), Err(UnsealError::NoIdentity(to)));
}

#[test]
fn header_is_read_strictly() {
    let sealed = fixture();
    let refused = |bytes: &[u8]| sealed.open(bytes, Trust::DangerAnyone).unwrap_err();
    for (from, to, line) in [
        ("environment: prod\n", "environment:  prod\n", 2),
        ("environment: prod\n", "environment: Prod\n", 2),
        ("environment-id: e1", "environment-id: E1", 3),
        ("environment-id: e1", "environment-id: e-1", 3),
        ("state: ", "State: ", 4),
        ("version: 7\n", "version: 07\n", 6),
        ("version: 7\n", "version: +7\n", 6),
        ("version: 7\n", "", 6),
        ("version: 7\n", "version: 7\r\n", 6),
        ("\n\n", "\nmore: 1\n\n", 11),
        ("==\n\n", "\n\n", 10),
    ] {
        assert_eq!(refused(&sealed.with(from, to)), UnsealError::Malformed(line), "{to:?}");
    }
    assert_eq!(refused(&sealed.with("sealed v1\n", "sealed v2\n")), UnsealError::Newer);
    assert_eq!(refused(&sealed.with("sealed v1\n", "sealed v1 \n")), UnsealError::Newer);
    assert_eq!(refused(&sealed.with("leasehold", "Leasehold")), UnsealError::Other);
    assert_eq!(refused(b""), UnsealError::Other);
    assert_eq!(refused(b"age-encryption.org/v1\n"), UnsealError::Other);
    assert_eq!(refused(&[b"leasehold sealed v1\n".as_slice(), &[b'x'; 1 << 20], b"\n\n"].concat()), UnsealError::Malformed(1));
}

#[test]
fn age_file_with_an_endless_header_is_refused_before_it_is_parsed() {
    let sealed = fixture();
    let to = Recipient::of(sealed.reader.first());
    let fields = Fields {
        subject: sealed.subject.clone(),
        environment: sealed.signer.environment(),
        recipient: to,
        signer: sealed.signer.verifying_key(),
    };
    let file = [b"age-encryption.org/v1\n".as_slice(), &b"-> x y\n\n".repeat(1 << 20), b"--- \n"].concat();
    let signature = BASE64_STANDARD.encode(sealed.signer.sign(PURPOSE, &signed(&fields, &file)));
    let head = format!("{}\nsignature: {signature}\n\n", header(&fields).join("\n"));
    assert_eq!(sealed.open(&[head.as_bytes(), &file].concat(), Trust::DangerAnyone), Err(UnsealError::Damaged));
}

/// A sealed document as version 1 makes it: readers keep such, so they open for ever.
#[test]
fn frozen_vector_opens() {
    let identities = Identities::parse(include_str!("../../../../tests/vectors/sealed-v1.key")).ok().unwrap();
    let signer = include_str!("../../../../tests/vectors/sealed-v1.signer").trim().parse().unwrap();
    let sealed = include_bytes!("../../../../tests/vectors/sealed-v1");
    let (fields, document) = unseal(sealed, &identities, Trust::Key(signer)).unwrap();
    assert_eq!(document.as_slice(), "{\"secret\": \"géheim\"}\n".as_bytes());
    assert_eq!(fields.subject.state.to_string(), "prod/network/eu");
    assert_eq!((fields.subject.version, fields.environment), (Version(7), EnvironmentId([0xe1; 16])));
}
