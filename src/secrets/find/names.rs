//! Names of keys that say: what stands here is secret.
//!
//! Names are compared by their words, whatever their style: `db_password`, `db-password`, `dbPassword`, `DB_PASSWORD`.

use std::sync::LazyLock;

use super::lists;

/// Names longer than this many bytes are texts.
pub(super) const LONGEST: u32 = 256;

/// Whether a string under this key is taken for a secret.
pub(super) fn is_secret(key: &[u8]) -> bool {
    if key.len() > LONGEST as usize {
        return false;
    }
    let words = words(key);
    let Some(last) = words.last() else { return false };
    let lists = &*LISTS;
    if !lists.secret.iter().any(|entry| entry.is_in(&words)) {
        return false;
    }
    !lists.suffixes.contains(last) && !lists.harmless.contains(&words)
}

/// Whether a text under such a key is none all the same: nothing, a truth value, or the name of a thing kept elsewhere.
pub(super) fn is_harmless_value(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.is_empty() || [&b"true"[..], b"false", b"null"].contains(&text) || text.starts_with(b"arn:aws")
}

struct Lists {
    secret: Vec<Entry>,
    suffixes: Vec<String>,
    harmless: Vec<Vec<String>>,
}

/// Words that mean a secret where they stand next to each other.
struct Entry {
    words: Vec<String>,
    /// Only at the end of the name.
    last: bool,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists {
    secret: lists::entries(include_str!("lists/names.txt")).map(Entry::of).collect(),
    suffixes: lists::entries(include_str!("lists/suffixes.txt")).map(|entry| entry.trim_start_matches('_').to_owned()).collect(),
    harmless: lists::entries(include_str!("lists/harmless.txt")).map(|entry| words(entry.as_bytes())).collect(),
});

impl Entry {
    fn of(text: &str) -> Self {
        let (words, last) = text.strip_suffix('$').map_or((text, false), |words| (words, true));
        Self { words: words.split('_').map(str::to_owned).collect(), last }
    }

    fn is_in(&self, words: &[String]) -> bool {
        if self.last { words.ends_with(&self.words) } else { words.windows(self.words.len()).any(|part| part == self.words) }
    }
}

/// The words of a name in small letters, without the numbers that count them.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut end = |word: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(word).trim_end_matches(|digit: char| digit.is_ascii_digit()).to_owned();
        word.clear();
        if !text.is_empty() {
            words.push(text);
        }
    };
    for (at, &byte) in name.iter().enumerate() {
        let is_part = byte.is_ascii_alphanumeric() || byte >= 0x80;
        let before = at.checked_sub(1).map_or(b'_', |before| name[before]);
        let after = name.get(at + 1).copied().unwrap_or(b'_');
        let hump = byte.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && after.is_ascii_lowercase()));
        if !is_part || hump {
            end(&mut word);
        }
        if is_part {
            word.push(byte.to_ascii_lowercase());
        }
    }
    end(&mut word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words_in_every_style() {
        for name in [
            "db_master_password",
            "db-master-password",
            "dbMasterPassword",
            "DB_MASTER_PASSWORD",
            "DBMasterPassword",
            "db.master password_2",
        ] {
            assert_eq!(words(name.as_bytes()), ["db", "master", "password"], "{name}");
        }
    }

    #[test]
    fn names_mean_a_secret_as_whole_words_only() {
        for name in [
            "password",
            "DB_PASSWORD",
            "adminPassword",
            "client-secret",
            "secretAccessKey",
            "private_key",
            "APIKey",
            "PGPASSWORD",
        ] {
            assert!(is_secret(name.as_bytes()), "{name}");
        }
        for name in
            ["passwordless", "secretary", "tokenizer", "secret_arn", "password_length", "http_tokens", "get_password_data", ""]
        {
            assert!(!is_secret(name.as_bytes()), "{name}");
        }
        assert!(!is_secret("password_".repeat(40).as_bytes()), "a text is no name");
    }
}
