//! `docs/api.md` is made from the tables that the server answers by, so that it cannot say what is not so.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use guildhall::http::problem::TRANSPORT;
use guildhall::http::routes::{ASSERTIONS, COMMANDS, OPEN, QUESTIONS};
use serde_json::Value;

const HEAD: &str = include_str!("api-head.md");

/// What a handler says about its parameters: the first line of its documentation.
const HANDLERS: [&str; 10] = [
    include_str!("../src/http/questions/citizens.rs"),
    include_str!("../src/http/questions/city.rs"),
    include_str!("../src/http/questions/entries.rs"),
    include_str!("../src/http/questions/guilds.rs"),
    include_str!("../src/http/questions/inventory.rs"),
    include_str!("../src/http/questions/receipts.rs"),
    include_str!("../src/http/questions/reputation.rs"),
    include_str!("../src/http/questions/treasuries.rs"),
    include_str!("../src/http/feed.rs"),
    include_str!("../src/http/statics.rs"),
];

fn said(method: &str, path: &str) -> String {
    let lines = HANDLERS.iter().flat_map(|file| file.lines()).filter_map(|line| line.trim().strip_prefix("/// `"));
    let mut found = lines.filter(|line| {
        let rest = line.strip_prefix(&format!("{method} /v1{path}"));
        rest.is_some_and(|rest| rest.starts_with(['`', '?', ' ']))
    });
    let line = found.next().unwrap_or_else(|| panic!("{method} {path}: its handler's documentation does not say so"));
    format!("`{line}")
}

fn tier(action: &str) -> String {
    let tier = domain::city::policy::lowest_tier(action).unwrap();
    serde_json::to_value(tier).unwrap().as_str().unwrap().to_owned()
}

fn commands(page: &mut String) {
    let known: Vec<Value> = include_str!("../../docs/commands.golden.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for route in COMMANDS {
        let known = known.iter().find(|known| known["action"] == route.action).unwrap();
        let in_path = |field: &str| route.path.contains(&format!("{{{field}}}"));
        let list = |name: &str| -> Vec<String> {
            known[name].as_array().unwrap().iter().map(|field| field.as_str().unwrap().to_owned()).collect()
        };
        let (fields, required) = (list("fields"), list("required"));
        let shown = fields.iter().filter(|field| !in_path(field));
        let shown: Vec<String> =
            shown.map(|field| format!("`{field}`{}", if required.contains(field) { "" } else { "?" })).collect();
        let mut example = known["example"].clone();
        example.as_object_mut().unwrap().retain(|field, _| !in_path(field));
        writeln!(page, "### `POST /v1{}`\n", route.path).unwrap();
        writeln!(page, "`{}`, from tier {}. Fields: {}.\n", route.action, tier(route.action), shown.join(", "))
            .unwrap();
        writeln!(page, "```json\n{example}\n```\n").unwrap();
        for (_, note) in NOTES.into_iter().filter(|(action, _)| *action == route.action) {
            writeln!(page, "{note}\n").unwrap();
        }
    }
}

/// Of whom more is asked than a tier.
const NOTES: [(&str, &str); 1] = [(
    "grant.import",
    "Only by services, the source's owner and the principals of the city (`docs/decisions/0097`): a principal makes somebody the owner with\n\
     `city.assign_source`, or the importer runs as a service. Everybody else hears `not_the_source_owner`.",
)];

fn page() -> String {
    let mut page = HEAD.to_owned();
    commands(&mut page);
    page.push_str("## Questions\n\n");
    for route in QUESTIONS {
        writeln!(page, "- {} (`{}`, from tier {})", said("GET", route.path), route.action, tier(route.action)).unwrap();
    }
    for route in ASSERTIONS {
        writeln!(page, "- {} (`{}`, from tier {})", said("POST", route.path), route.action, tier(route.action))
            .unwrap();
    }
    page.push_str("\nWithout a credential:\n\n");
    for (path, why) in OPEN {
        writeln!(page, "- `GET {path}`: {why}").unwrap();
    }
    page.push_str("\n## Codes\n\nOf the transport:\n\n| code | status | |\n|---|---|---|\n");
    for (code, status, title) in TRANSPORT {
        writeln!(page, "| `{code}` | {} | {title} |", status.as_u16()).unwrap();
    }
    page.push_str("\nOf the rules (422, or 403 and 404 where that says more):\n\n| code | |\n|---|---|\n");
    for code in domain::Code::ALL {
        writeln!(page, "| `{}` | {} |", code.as_str(), code.because()).unwrap();
    }
    page
}

#[test]
fn the_documentation_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(golden == page, "docs/api.md: UPDATE_GOLDEN=1 cargo test -p guildhall --test documentation");
}
