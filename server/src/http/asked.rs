//! A question as a handler gets it: who asks, and parameters that are typed or named in the refusal.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::RawPathParams;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use eventlog::sql::Conn;
use queries::PageRequest;
use serde::Serialize;
use serde_json::{Map, Value};

use super::App;
use super::guard::Caller;
use super::problem::{BEHIND, Problem};

pub struct Asked {
    pub app: Arc<App>,
    pub caller: Caller,
    pub headers: HeaderMap,
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
}

impl Asked {
    pub fn new(
        app: Arc<App>,
        caller: Caller,
        path: &RawPathParams,
        query: Option<&str>,
        headers: HeaderMap,
    ) -> Result<Self, Problem> {
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { app, caller, headers, path, query: parse_query(query.unwrap_or_default())? })
    }

    /// Takes the fields of a body as parameters: texts, numbers and booleans.
    pub fn with_fields(&mut self, fields: Map<String, Value>) -> Result<(), Problem> {
        for (name, value) in fields {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return Err(Problem::invalid(&name, "a text, a number or a boolean")),
            };
            self.query.insert(name, text);
        }
        Ok(())
    }

    /// A parameter of the path.
    pub fn path<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Problem> {
        let text = self.path.get(name).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|error| Problem::invalid(name, error))
    }

    /// A parameter of the query, which is then no longer there.
    pub fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.query.remove(name) else { return Ok(None) };
        if text.chars().any(char::is_control) {
            return Err(Problem::invalid(name, "holds a control character"));
        }
        text.parse().map(Some).map_err(|error| Problem::invalid(name, error))
    }

    /// A parameter that must be there.
    pub fn need<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, Problem> {
        self.take(name)?.ok_or_else(|| Problem::invalid(name, "is missing"))
    }

    /// A parameter that is one of these words: a misspelt one would look like an empty answer.
    pub fn one_of(&mut self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.take::<String>(name)? else { return Ok(None) };
        let known = words.iter().find(|word| **word == text).copied();
        known.map(Some).ok_or_else(|| Problem::invalid(name, words.join(", ")))
    }

    /// `limit=`, within what one page may hold.
    pub fn limit(&mut self) -> Result<u32, Problem> {
        let most = self.app.city.settings.limits.page;
        match self.take::<u32>("limit")? {
            None => Ok(most.min(100)),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(Problem::invalid("limit", format!("1 to {most}"))),
        }
    }

    /// `after=` and `limit=`.
    pub fn page(&mut self) -> Result<PageRequest, Problem> {
        let after = self.take::<String>("after")?;
        Ok(PageRequest::new(Some(self.limit()?), after))
    }

    /// A connection to the tables.
    pub async fn views(&self) -> Result<Conn, Problem> {
        Ok(self.app.city.views.reader().await?)
    }

    /// Refuses parameters that nobody took: a misspelt filter must not look like an answer.
    pub fn nothing_else(&self) -> Result<(), Problem> {
        match self.query.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::invalid(name, "there is no such parameter here")),
        }
    }

    /// `at_least=`: waits until the tables have reached that position.
    pub async fn wait(&mut self) -> Result<(), Problem> {
        match self.take::<u64>("at_least")? {
            Some(position) => self.reach(position, "at_least").await,
            None => Ok(()),
        }
    }

    /// Waits until the tables have reached the position that this parameter names.
    pub async fn reach(&self, position: u64, parameter: &str) -> Result<(), Problem> {
        let most = Duration::from_secs(self.app.city.settings.limits.wait_seconds);
        if self.app.city.views_reach(position, most).await? {
            return Ok(());
        }
        let detail = format!("position {position} was not reached within {} s", most.as_secs());
        Err(Problem::new(BEHIND).field(parameter).detail(detail).retry_after(Duration::from_secs(1)))
    }
}

/// A 200 with JSON.
pub fn json(body: &impl Serialize) -> Result<Response, Problem> {
    Ok(axum::Json(body).into_response())
}

fn parse_query(query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let uri = format!("/?{query}").parse().map_err(|error| Problem::invalid("query", error))?;
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs.map_err(|error| Problem::invalid("query", error))?.0 {
        let name: String = name.chars().take(80).collect();
        if parameters.insert(name.clone(), value).is_some() {
            return Err(Problem::invalid(&name, "given twice"));
        }
    }
    Ok(parameters)
}
