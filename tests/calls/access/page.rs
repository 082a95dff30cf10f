//! docs/access.md prints the tables that decide.

use std::fmt::Write as _;
use std::path::Path;

use leasehold::backend::Call;
use leasehold::domain::access::{Role, Verb};
use leasehold::pb::Rpc;
use leasehold::serve::verbs::{Demand, Page, demand, page_demand, route_demand};

fn roles() -> String {
    let mut table = String::from("| Verb |");
    for role in Role::ALL {
        let _ = write!(table, " `{role}` |");
    }
    table += "\n|---|";
    table += &"---|".repeat(Role::ALL.len());
    for verb in Verb::ALL {
        let _ = write!(table, "\n| `{verb}` |");
        for role in Role::ALL {
            let word = match (role.verbs().has(*verb), role.verbs().allow(*verb)) {
                (true, _) => "yes",
                (false, true) => "in `read.full`",
                (false, false) => "",
            };
            let _ = write!(table, " {word}{}|", if word.is_empty() { "" } else { " " });
        }
    }
    table
}

fn row(call: &str, demand: Demand) -> String {
    let verbs = match demand.verbs {
        all if all == Verb::ALL => "any".to_owned(),
        some => some.iter().map(|verb| format!("`{verb}`")).collect::<Vec<_>>().join(" or "),
    };
    let secret = if demand.lease_secret { "; or the lease's own secret" } else { "" };
    let depends = if demand.depends.is_empty() { String::new() } else { format!("; {}", demand.depends) };
    format!("\n| {call} | {verbs}{depends}{secret} | {} |", demand.on)
}

fn calls() -> String {
    let mut table = String::from("| Call | Verb | On |\n|---|---|---|");
    for rpc in Rpc::ALL {
        let path = rpc.path();
        let name = path.strip_prefix("/leasehold.v1.").unwrap_or(path).replace("Service/", ".");
        table += &row(&format!("`{name}`"), demand(*rpc));
    }
    table
}

fn routes() -> String {
    let some = || Some("s".to_owned());
    let mut table = String::from("| Request | Verb | On |\n|---|---|---|");
    for (request, call) in [
        ("`GET`", Call::Read),
        ("`POST`, `PUT` with `?ID=`", Call::Write { id: some() }),
        ("`POST`, `PUT` without", Call::Write { id: None }),
        ("`LOCK`; `POST`, `PUT` to `/lock`", Call::Lock { wait: None }),
        ("`UNLOCK`; `DELETE` to `/lock`", Call::Unlock { id: None }),
        ("`DELETE` (always 405)", Call::Delete { id: None }),
    ] {
        table += &row(request, route_demand(&call));
    }
    table
}

fn pages() -> String {
    let mut table = String::from("| Request | Verb | On |\n|---|---|---|");
    for page in Page::ALL {
        table += &row(&format!("`GET {}`", page.path()), page_demand(*page));
    }
    table
}

#[test]
fn page_prints_the_tables_that_decide() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/access.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut wrong = String::new();
    for (name, table) in [("roles", roles()), ("calls", calls()), ("routes", routes()), ("pages", pages())] {
        let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("\n<!-- {name}:end -->"));
        if !page.contains(&format!("{begin}{table}{end}")) {
            let _ = write!(wrong, "\n{begin}{table}{end}\n");
        }
    }
    assert!(wrong.is_empty(), "docs/access.md does not print these tables as they are:\n{wrong}");
}
