//! Tokens against issuers that the tests run.
