//! Completion scripts.

use crate::process::{end, leasehold};

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = end(&mut leasehold(&["completions", shell]));
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(ended.out.contains("leasehold") && ended.out.contains("unless-etag"), "{shell}");
    }
}
