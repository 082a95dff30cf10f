//! The rules, judged from outside: random schedules of calls on every engine, and a checker over what was called, answered, told and
//! read that shares no code with the rules.
//!
//! | file | what it is |
//! |---|---|
//! | `engine` | the engines under test, as the harness starts, ticks and kills them |
//! | `script` | symbolic steps and how proptest draws them |
//! | `history` | what was seen of a run, in the harness's own words |
//! | `driver` | plays a script on an engine and writes the history down |
//! | `checker` | the fourteen invariants, one function each |
//! | `properties` | random scripts on every engine |
//! | `planted` | for each invariant a bug that the checker finds |
//! | `audit` | every act has its row in the audit
//! | `holdings` | events account for every lease and ticket |
//! | `table` | each lease rule by name, and again after a restart |

mod audit;
mod checker;
mod driver;
mod engine;
mod history;
mod holdings;
mod planted;
mod properties;
mod script;
mod table;
