//! What the documentation says of commands, made from commands that are accepted.

use serde_json::{Map, Value, json};

use super::scenarios::{Stage, Way, scenario};
use crate::command::Command;

/// A command as a caller types it: texts are strings.
fn typed(value: &mut Value) {
    // A reference is a text and its lookup.
    let text = value.as_array().filter(|pair| pair.len() == 2).map_or(&*value, |pair| &pair[0]);
    if text.get("ciphertext").is_some() && text.get("commitment").is_some() {
        *value = json!("...");
        return;
    }
    match value {
        Value::Object(object) => object.values_mut().for_each(typed),
        Value::Array(list) => list.iter_mut().for_each(typed),
        _ => {}
    }
}

fn objection(action: &str, fields: &Map<String, Value>) -> Option<String> {
    let mut whole = fields.clone();
    whole.insert("type".to_owned(), json!(action));
    serde_json::from_value::<Command>(Value::Object(whole)).err().map(|error| error.to_string())
}

/// Every field that the command has: its reader names them to whoever sends another.
fn fields(action: &str, example: &Map<String, Value>) -> Vec<String> {
    let mut wrong = example.clone();
    wrong.insert("no such field".to_owned(), Value::Null);
    let said = objection(action, &wrong).expect("unknown fields are refused");
    let named = said.split_once("expected").map_or("", |(_, named)| named);
    named.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_examples_of_the_documentation_are_commands_that_are_accepted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.golden.jsonl");
    let fresh = Stage::new(Way::PrincipalOnly);
    let line = |action: &&str| {
        let (_, command) = scenario(action, &mut fresh.clone());
        let mut example = serde_json::to_value(&command).unwrap();
        typed(&mut example);
        let Value::Object(mut example) = example else { panic!("{action} is no object") };
        example.remove("type");
        assert_eq!(objection(action, &example), None, "{action}");
        let fields = fields(action, &example);
        assert!(example.keys().all(|field| fields.contains(field)), "{action}: {fields:?}");
        let is_required = |field: &&String| {
            let mut without = example.clone();
            without.remove(*field).is_some() && objection(action, &without).is_some()
        };
        let required: Vec<&String> = fields.iter().filter(is_required).collect();
        format!("{}\n", json!({ "action": action, "example": example, "fields": fields, "required": required }))
    };
    let lines: String = Command::ACTIONS.iter().map(line).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &lines).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(golden == lines, "docs/commands.golden.jsonl: UPDATE_GOLDEN=1 cargo test -p guildhall-domain examples");
}
