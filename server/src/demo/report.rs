//! What the demo found: one line per check for people, one document for scripts.

use serde_json::{Value, json};

/// One thing that had to hold.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: &'static str,
    pub held: bool,
    pub detail: String,
}

/// Everything that was checked, printed as it becomes known.
pub struct Report {
    checks: Vec<Check>,
    /// Nothing but the document at the end.
    as_json: bool,
    more: serde_json::Map<String, Value>,
}

impl Report {
    pub fn new(as_json: bool) -> Self {
        Self { checks: Vec::new(), as_json, more: serde_json::Map::new() }
    }

    pub fn check(&mut self, name: &'static str, held: bool, detail: impl Into<String>) {
        let check = Check { name, held, detail: detail.into() };
        if !self.as_json {
            println!("  {} {:<12} {}", if held { "ok  " } else { "FAIL" }, check.name, check.detail);
        }
        self.checks.push(check);
    }

    /// A line between the checks.
    pub fn say(&self, line: &str) {
        if !self.as_json {
            println!("{line}");
        }
    }

    /// A number for scripts.
    pub fn note(&mut self, name: &str, value: impl Into<Value>) {
        self.more.insert(name.to_owned(), value.into());
    }

    pub const fn is_json(&self) -> bool {
        self.as_json
    }

    pub fn all_held(&self) -> bool {
        self.checks.iter().all(|check| check.held)
    }

    /// The last word.
    pub fn conclude(mut self) -> bool {
        let held = self.all_held();
        if self.as_json {
            let checks =
                self.checks.iter().map(|check| json!({"name": check.name, "held": check.held, "detail": check.detail}));
            let mut document = std::mem::take(&mut self.more);
            document.insert("held".to_owned(), held.into());
            document.insert("checks".to_owned(), checks.collect());
            println!("{:#}", Value::Object(document));
        } else if held {
            println!("\nEvery one of {} checks held.", self.checks.len());
        } else {
            let failed: Vec<&str> = self.checks.iter().filter(|check| !check.held).map(|check| check.name).collect();
            println!("\nThese did not hold: {}.", failed.join(", "));
        }
        held
    }
}
