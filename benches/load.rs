//! Loads a server and prints rates.

fn main() {}
