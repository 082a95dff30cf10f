//! Stock Terraform and OpenTofu, unchanged, at the door for their `http` backend. Each test runs with each of the two that is there.

/// The tests of a file, with each tool.
macro_rules! with_each_tool {
    ($($test:ident),+ $(,)?) => {
        mod terraform {
            $(#[test] fn $test() { crate::stock::work::with("terraform", super::$test); })+
        }
        mod opentofu {
            $(#[test] fn $test() { crate::stock::work::with("tofu", super::$test); })+
        }
    };
}

mod commands;
mod configuration;
mod encrypted;
mod everywhere;
mod force_unlock;
mod gate;
mod identity;
mod large;
mod locking;
mod mistakes;
mod moving;
mod network;
mod plans;
mod refused;
mod relay;
mod secrecy;
mod seen;
mod snapshots;
mod work;
