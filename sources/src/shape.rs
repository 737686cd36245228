//! What the fields of a row are: of the known ones each has a shape, and the others may be anything.

use serde_json::{Map as Fields, Value};

use crate::table::instant;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Text,
    /// As sources write it: ISO text, or seconds since 1970.
    Time,
    Whole,
    Flag,
    Texts,
    List,
    Mapping,
    OneOf(&'static [&'static str]),
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Time => match value {
                Value::String(text) => instant(text).is_some(),
                Value::Number(number) => instant(&number.to_string()).is_some(),
                _ => false,
            },
            Self::Whole => value.is_i64() || value.is_u64(),
            Self::Flag => value.is_boolean(),
            Self::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            Self::List => value.is_array(),
            Self::Mapping => value.is_object(),
            Self::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        }
    }

    fn wanted(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Time => "a time".to_owned(),
            Self::Whole => "a whole number".to_owned(),
            Self::Flag => "a boolean".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::List => "a list".to_owned(),
            Self::Mapping => "a mapping".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// Whether every known field that is there has its shape; else the first one that has another. Null is absence.
pub(crate) fn check(fields: &Fields<String, Value>, known: &[(&str, Shape)]) -> Result<(), String> {
    let odd = known.iter().find(|(name, shape)| {
        fields.get(*name).filter(|value| !value.is_null()).is_some_and(|value| !shape.fits(value))
    });
    match odd {
        Some((name, shape)) => Err(format!("{name} is not {}", shape.wanted())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_there_has_its_shape() {
        for (shape, good, bad) in [
            (Shape::Text, json!("x"), json!(7)),
            (Shape::Time, json!("2026-04-02T09:00:00Z"), json!("soon")),
            (Shape::Time, json!(1_775_120_400), json!(true)),
            (Shape::Time, json!(1_775_120_400.25), json!([])),
            (Shape::Whole, json!(2), json!(2.5)),
            (Shape::Flag, json!(false), json!("no")),
            (Shape::Texts, json!(["a"]), json!(["a", 1])),
            (Shape::List, json!([1, {}]), json!({})),
            (Shape::Mapping, json!({}), json!([])),
            (Shape::OneOf(&["a", "b"]), json!("b"), json!("c")),
        ] {
            let checked = |value| check(json!({ "field": value }).as_object().unwrap(), &[("field", shape)]);
            assert_eq!(checked(good), Ok(()));
            assert_eq!(checked(Value::Null), Ok(()));
            let said = checked(bad).unwrap_err();
            assert!(said.starts_with("field is not "), "{said}");
        }
    }
}
