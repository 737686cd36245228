//! One strict reading of a JSON body: an object, every key once, not nested deeper than allowed.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads an object. What two readers could understand differently (a key given twice) is refused.
///
/// # Errors
/// The message says where, and repeats nothing of the body but key names.
pub fn read(bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        // Commands that need no field beyond the address may be sent without a body.
        return Ok(Map::new());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth }.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the body must be a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            let value = object.next_value_seed(inner)?;
            if values.insert(key.clone(), value).is_some() {
                let shown: String = key.chars().take(80).collect();
                return Err(A::Error::custom(format!("`{shown}` is given twice")));
            }
        }
        Ok(Value::Object(values))
    }
}

/// The path of the first value that `is` says yes to.
pub fn find(value: &Value, is: &dyn Fn(&Value) -> bool) -> Option<String> {
    let below = |name: &str, child: &Value| {
        if is(child) {
            return Some(name.to_owned());
        }
        find(child, is).map(|rest| format!("{name}.{rest}"))
    };
    match value {
        Value::Object(object) => object.iter().find_map(|(name, child)| below(name, child)),
        Value::Array(list) => list.iter().enumerate().find_map(|(index, child)| below(&index.to_string(), child)),
        _ => None,
    }
}

/// Most readings spent on finding a field; what a caller can make us do is bounded.
const MOST_READINGS: usize = 64;

/// The path of the field that a reader of commands objects to, found by leaving parts out until the objection changes.
///
/// The reader looks at a command's fields only after its type is known and has lost their places by then; this costs a few
/// readings more, and only when one failed.
pub fn culprit(body: &Value, objection: &str, object_to: &dyn Fn(&Value) -> Option<String>) -> Option<String> {
    if let Some(name) = objection.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        return Some(lacking(body, name.0, objection, object_to));
    }
    let mut whole = body.clone();
    let mut path = Vec::new();
    let left = std::cell::Cell::new(MOST_READINGS);
    let object_to = |value: &Value| {
        left.set(left.get().saturating_sub(1));
        object_to(value)
    };
    while left.get() > 0
        && let Some(step) = step(&mut whole, &path, objection, &left, &object_to)
    {
        path.push(step);
    }
    (!path.is_empty()).then(|| path.join("."))
}

/// Where a field is missing: in the one object that objects otherwise once it has it, and does not say that it knows none such.
fn lacking(body: &Value, name: &str, objection: &str, object_to: &dyn Fn(&Value) -> Option<String>) -> String {
    let mut whole = body.clone();
    let mut paths = vec![Vec::new()];
    let mut next = 0;
    while next < paths.len().min(MOST_READINGS) {
        let path: Vec<String> = paths[next].clone();
        next += 1;
        match at(&mut whole, &path) {
            Some(Value::Object(object)) => {
                let inside = object.iter().filter(|(_, value)| value.is_object() || value.is_array());
                paths.extend(inside.map(|(child, _)| [path.as_slice(), std::slice::from_ref(child)].concat()));
                if object.insert(name.to_owned(), Value::Null).is_some() {
                    return [path, vec![name.to_owned()]].concat().join(".");
                }
            }
            Some(Value::Array(list)) => {
                paths.extend((0..list.len()).map(|index| [path.as_slice(), &[index.to_string()]].concat()));
                continue;
            }
            _ => continue,
        }
        let answer = object_to(&whole);
        if let Some(Value::Object(object)) = at(&mut whole, &path) {
            object.remove(name);
        }
        let unknown = format!("unknown field `{name}`");
        if answer.as_deref().is_none_or(|answer| answer != objection && !answer.contains(&unknown)) {
            return [path, vec![name.to_owned()]].concat().join(".");
        }
    }
    name.to_owned()
}

/// The next part of the path: the child without which the objection is another.
fn step(
    whole: &mut Value,
    path: &[String],
    objection: &str,
    left: &std::cell::Cell<usize>,
    object_to: &dyn Fn(&Value) -> Option<String>,
) -> Option<String> {
    let children: Vec<String> = match at(whole, path)? {
        Value::Object(object) => object.keys().take(left.get()).cloned().collect(),
        Value::Array(list) => (0..list.len().min(left.get())).map(|index| index.to_string()).collect(),
        _ => return None,
    };
    children.into_iter().find(|child| {
        if left.get() == 0 {
            return false;
        }
        let Some(kept) = at(whole, path).map(|parent| take(parent, child)) else { return false };
        let changed = object_to(whole).as_deref() != Some(objection);
        if let Some(parent) = at(whole, path) {
            put_back(parent, child, kept);
        }
        changed
    })
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(object) => object.get_mut(step),
        Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get_mut(index)),
        _ => None,
    })
}

fn take(parent: &mut Value, child: &str) -> Option<Value> {
    match parent {
        Value::Object(object) => object.remove(child),
        Value::Array(list) => child.parse().ok().map(|index: usize| list.remove(index)),
        _ => None,
    }
}

fn put_back(parent: &mut Value, child: &str, kept: Option<Value>) {
    match (parent, kept) {
        (Value::Object(object), Some(value)) => {
            object.insert(child.to_owned(), value);
        }
        (Value::Array(list), Some(value)) => {
            if let Ok(index) = child.parse::<usize>() {
                list.insert(index, value);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn finding_the_field_costs_a_bounded_number_of_readings() {
        let body = json!({"evidence": vec![0; 30_000]});
        let readings = std::cell::Cell::new(0);
        let object_to = |_: &Value| {
            readings.set(readings.get() + 1);
            Some("invalid type".to_owned())
        };
        culprit(&body, "invalid type", &object_to);
        assert!(readings.get() <= MOST_READINGS, "{}", readings.get());
        let deep = json!({"a": {"b": vec![0; 30_000]}});
        let only_whole = |value: &Value| value.get("a").map(|_| "invalid type".to_owned());
        culprit(&deep, "invalid type", &only_whole);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        assert_eq!(
            read(br#"{"a":[1,"x",null,true]}"#, 4).unwrap(),
            *json!({"a":[1,"x",null,true]}).as_object().unwrap()
        );
        assert!(read(b"  ", 4).unwrap().is_empty());
        for (bad, says) in [
            (r#"{"a":1,"a":2}"#, "given twice"),
            (r#"{"a":{"b":1,"b":1}}"#, "given twice"),
            (r#"{"a":[[[[1]]]]}"#, "nested too deep"),
            ("[1]", "must be a JSON object"),
            ("{", "EOF"),
            ("{} {}", "trailing"),
        ] {
            let error = read(bad.as_bytes(), 4).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
        assert!(read(&[b"{\"a\":\"".as_slice(), &[0xff], b"\"}"].concat(), 4).is_err());
    }

    #[test]
    fn the_field_concerned_is_found_however_deep() {
        let object_to = |body: &Value| -> Option<String> {
            let bad = body["legs"].as_array()?.iter().find(|leg| leg["amount"] == "x")?;
            Some(format!("invalid amount {}", bad["amount"]))
        };
        let body = json!({"legs": [{"to": "a", "amount": "1"}, {"to": "b", "amount": "x"}], "a": 1});
        let objection = object_to(&body).unwrap();
        assert_eq!(culprit(&body, &objection, &object_to).as_deref(), Some("legs.1.amount"));
        assert_eq!(culprit(&body, "missing field `slug`", &object_to).as_deref(), Some("slug"));
        let nested = |body: &Value| match body["agent"].get("operator") {
            _ if body.get("operator").is_some() => Some("unknown field `operator`".to_owned()),
            None => Some("missing field `operator`".to_owned()),
            Some(operator) => operator.is_null().then(|| "invalid type: null".to_owned()),
        };
        let body = json!({"name": "Dan", "agent": {"model": "m"}});
        assert_eq!(culprit(&body, "missing field `operator`", &nested).as_deref(), Some("agent.operator"));
    }
}
