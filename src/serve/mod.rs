//! Front doors.

pub mod door;
