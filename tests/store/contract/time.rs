//! Store time: no step of a clock and no time of standing still counts for more than two seconds.

use std::time::Duration;

use super::on_every_engine;
use crate::commands::acquire;
use crate::engines::Engine;
use crate::rig::Rig;

fn remaining<E: Engine>(rig: &Rig<E>) -> u64 {
    let (row, now) = rig.lock_row("dev/app");
    row.lock.holders[0].remaining(now).unwrap().as_secs()
}

on_every_engine! {
    fn long_silence_counts_for_two_seconds(rig) {
        rig.lease("dev/app", "a");
        rig.engine().clock().advance(Duration::from_secs(3600));
        assert_eq!(remaining(&rig), 18, "a reader sees it");
        rig.engine().clock().advance(Duration::from_secs(3600));
        assert_eq!(remaining(&rig), 18, "and no more, while nothing is committed");
        rig.engine().tick();
        rig.engine().clock().advance(Duration::from_secs(3600));
        rig.engine().tick();
        assert_eq!(remaining(&rig), 16);
    }

    fn downtime_does_not_count(rig) {
        rig.lease("dev/app", "a");
        rig.seconds(5);
        rig.restart_after(Duration::from_secs(86_400));
        assert_eq!(remaining(&rig), 15);
        rig.engine().clock().set_monotonic(Duration::ZERO);
        rig.restart();
        assert_eq!(remaining(&rig), 15, "nor does a machine whose clock starts over");
        rig.seconds(14);
        assert_eq!(rig.holders("dev/app"), ["a"]);
        rig.seconds(1);
        assert_eq!(rig.holders("dev/app"), [""; 0]);
    }

    fn clock_that_runs_backwards_stands_still(rig) {
        rig.engine().clock().advance(Duration::from_secs(100));
        rig.lease("dev/app", "a");
        rig.engine().clock().set_monotonic(Duration::from_secs(10));
        rig.engine().tick();
        assert_eq!(remaining(&rig), 20);
        rig.seconds(2);
        assert_eq!(remaining(&rig), 18);
    }

    fn wall_steps_change_nothing(rig) {
        rig.lease("dev/app", "a");
        let year = 365 * 86_400_000;
        for step in [year, -3 * year, 2 * year] {
            rig.engine().clock().step_wall(step);
            rig.engine().tick();
            assert_eq!(remaining(&rig), 20);
            assert!(rig.submit(acquire("dev/app", "b", false)).is_err());
            rig.restart();
            assert_eq!(remaining(&rig), 20, "and after a restart");
        }
    }
}
