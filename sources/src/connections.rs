//! `pg:profile_tool_connections`: a table of a PostgreSQL database, read and never resolved further.

use domain::grant::event::FailureKind;
use domain::grant::kind::CapabilityKind;
use domain::time::Time;
use futures::TryStreamExt as _;
use serde_json::{Map as Fields, Value};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::details::{self, Secrets};
use crate::shape::{self, Shape};
use crate::table::{ForeignRow, Instant};
use crate::{About, KeyedHash, Life, Listed, Map, Place, Sink, Unlisted, Whose, reference};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// Bytes of one row as JSON.
const MOST_OF_ROW: usize = 64 << 10;
const NEEDED: [&str; 4] = ["id", "profile_id", "tool_name", "status"];

pub(crate) async fn list(map: &Map, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Database { url_env, table } = &map.place else { return Ok(()) };
    let url = std::env::var(url_env).map_err(|_| Unlisted::unreachable(url_env, "is not set"))?;
    let broken = |error: sqlx::Error| Unlisted::new(kind(&error), table, without_values(&error));
    // The URL holds a password: whatever is wrong with it, it is not repeated.
    let options: PgConnectOptions =
        url.parse().map_err(|_| Unlisted::unreachable(url_env, "holds no PostgreSQL connection string"))?;
    let options = options.options([("default_transaction_read_only", "on"), ("statement_timeout", "600s")]);
    let options = options.disable_statement_logging();
    let connecting = tokio::time::timeout(PATIENCE, options.connect());
    let mut conn = connecting
        .await
        .map_err(|_| Unlisted::new(FailureKind::TimedOut, table, "connecting takes too long"))?
        .map_err(broken)?;
    // One row is one JSON object, whatever columns this installation has.
    let quoted: Vec<String> = table.split('.').map(|part| format!("\"{part}\"")).collect();
    let query = format!(
        "select octet_length(t.j::text) > {MOST_OF_ROW}, case when octet_length(t.j::text) > {MOST_OF_ROW} then \
         jsonb_build_object('id', left(t.j->>'id', 300), 'status', left(t.j->>'status', 30), \
         'revoked_at', left(t.j->>'revoked_at', 300), 'expires_at', left(t.j->>'expires_at', 300)) else t.j end::text \
         from (select to_jsonb(\"the row\") as j, \"the row\".id from {} as \"the row\") as t order by t.id",
        quoted.join(".")
    );
    let mut rows = sqlx::query(AssertSqlSafe(query)).fetch(&mut conn);
    let mut number = 0_u64;
    while let Some(row) = rows.try_next().await.map_err(broken)? {
        number += 1;
        sink.still_heard()?;
        let place = format!("{table} row {number}");
        let is_long: bool = row.try_get(0).map_err(broken)?;
        let text: String = row.try_get(1).map_err(broken)?;
        let fields: Fields<String, Value> = serde_json::from_str(&text)
            .map_err(|_| Unlisted::new(FailureKind::Malformed, table, "a row is no object"))?;
        if number == 1
            && !is_long
            && let Some(missing) = NEEDED.iter().find(|name| !fields.contains_key(**name))
        {
            return Err(Unlisted::new(FailureKind::Malformed, table, format!("has no column {missing}")));
        }
        let row = ForeignRow::from(fields);
        let about = about(&row);
        if is_long {
            sink.wrong(place, "is longer than 64 KiB", about).await;
            continue;
        }
        match connection(row, keyed, &place) {
            Ok(listed) => sink.listed(listed).await,
            Err(what) => sink.wrong(place, what, about).await,
        }
    }
    Ok(())
}

/// Which connection a row that is wrong is about, and what it says of its end all the same.
fn about(row: &ForeignRow) -> About {
    let life = row.text("status").ok().flatten().and_then(|status| life_of(&status));
    let end = match row.time("expires_at") {
        Ok(Some(Instant::At(end))) => Some(end),
        Ok(Some(Instant::Never)) => Some(Time::from_micros(i64::MIN)),
        Ok(Some(Instant::Forever) | None) | Err(_) => None,
    };
    row.about("id", life, end)
}

fn life_of(status: &str) -> Option<Life> {
    match status {
        "active" => Some(Life::Living),
        "revoked" => Some(Life::Revoked),
        "expired" => Some(Life::Expired),
        _ => None,
    }
}

fn connection(mut row: ForeignRow, keyed: &KeyedHash, place: &str) -> Result<Listed, String> {
    let (id, profile) = (row.needed("id")?, row.needed("profile_id")?);
    row.needed("tool_name")?;
    let life = life_of(&row.needed("status")?).ok_or("status is not active, revoked or expired")?;
    shape::check(&row.fields, &[("scopes", Shape::Texts), ("workspace_id", Shape::Text)])?;
    row.time("connected_at")?;
    let revoked = row.time("revoked_at")?.is_some();
    let (life, expires_at) = match row.time("expires_at")? {
        None | Some(Instant::Forever) => (life, None),
        Some(Instant::At(end)) => (life, Some(end)),
        Some(Instant::Never) if life == Life::Living => (Life::Expired, None),
        Some(Instant::Never) => (life, None),
    };
    let secrets = Secrets::of(&row.fields);
    secrets.check("id", &id)?;
    secrets.check("profile_id", &profile)?;
    // Where a secret lies is nobody's to read here; that it is another place than before can be seen all the same.
    let hashed = row.text("oauth_token_ref")?.map(|path| ("oauth_token_ref", keyed(path.as_bytes())));
    for name in ["id", "status", "revoked_at", "expires_at"] {
        row.fields.remove(name);
    }
    Ok(Listed {
        whose: profile.parse().ok().map(Whose::Citizen),
        names: vec![profile],
        kind: CapabilityKind::OauthConnection,
        reference: reference(&id)?,
        identity: None,
        life: if revoked { Life::Revoked } else { life },
        expires_at,
        read_only: false,
        details: details::document(row.fields, &secrets, hashed),
        place: place.to_owned(),
    })
}

fn kind(error: &sqlx::Error) -> FailureKind {
    match error {
        sqlx::Error::Database(refused) => match refused.code().as_deref() {
            Some("28P01" | "28000" | "42501") => FailureKind::Unauthorized,
            Some("57014") => FailureKind::TimedOut,
            Some("42P01" | "42703") => FailureKind::Malformed,
            _ => FailureKind::Unreachable,
        },
        _ => FailureKind::Unreachable,
    }
}

/// The server's own words may repeat the URL or a value of a row, so they are not passed on.
fn without_values(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refused) => {
            let code = refused.code().unwrap_or_default();
            let what = match &*code {
                "28P01" | "28000" => "the login is refused",
                "3D000" => "there is no such database",
                "42501" => "the login may not read it",
                "42P01" | "3F000" => "there is no such table",
                "42703" => "it lacks the column id",
                "57014" => "reading it takes too long",
                _ => "PostgreSQL ended the reading; its log says why",
            };
            format!("{what} (SQLSTATE {code})")
        }
        sqlx::Error::Io(error) => error.to_string(),
        _ => "the connection failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_whose_connection_it_is_and_nothing_of_where_its_token_lies() {
        let keyed: KeyedHash = Arc::new(|_| "hashed".to_owned());
        let read = |change: &dyn Fn(&mut Fields<String, Value>)| {
            let row = json!({
                "id": "c1", "profile_id": "p1", "tool_name": "drive", "oauth_token_ref": "vault/p1/drive",
                "scopes": ["read"], "status": "active", "connected_at": "2026-04-02T09:00:00+00:00", "revoked_at": null,
            });
            let Value::Object(mut row) = row else { unreachable!() };
            change(&mut row);
            connection(ForeignRow::from(row), &keyed, "t row 1")
        };
        let said = |change: &dyn Fn(&mut Fields<String, Value>)| {
            let mut fields = json!({"id": "c1", "status": "active", "connected_at": "soon"});
            change(fields.as_object_mut().unwrap());
            let Value::Object(fields) = fields else { unreachable!() };
            about(&ForeignRow::from(fields))
        };
        let refs = || vec!["c1".parse().unwrap()];
        let (never, past) = (Time::from_micros(i64::MIN), Time::from_micros(1_000_000));
        for (field, value, what) in [
            ("note", "x", About::Refs(refs())),
            ("status", "revoked", About::Ended(refs())),
            ("status", "expired", About::Over(refs(), never)),
            ("revoked_at", "when", About::Ended(refs())),
            ("expires_at", "-infinity", About::Over(refs(), never)),
            ("expires_at", "1970-01-01T00:00:01Z", About::Over(refs(), past)),
            ("expires_at", "infinity", About::Refs(refs())),
        ] {
            assert_eq!(said(&|row| drop(row.insert(field.to_owned(), json!(value)))), what, "{field} {value}");
        }
        let listed = read(&|_| ()).unwrap();
        assert_eq!((listed.names, listed.life), (vec!["p1".to_owned()], Life::Living));
        let details = listed.details.unwrap();
        assert!(!details.contains("vault/p1") && details.contains("hashed"), "{details}");
        assert_eq!(read(&|row| drop(row.insert("status".to_owned(), json!("expired")))).unwrap().life, Life::Expired);
        let revoked = read(&|row| drop(row.insert("revoked_at".to_owned(), json!("2026-04-03T09:00:00Z"))));
        assert_eq!(revoked.unwrap().life, Life::Revoked);
        for (expires_at, life, has_end) in [
            ("infinity", Life::Living, false),
            ("-infinity", Life::Expired, false),
            ("2026-04-03T09:00:00.25Z", Life::Living, true),
        ] {
            let listed = read(&|row| {
                row.insert("expires_at".to_owned(), json!(expires_at));
                row.insert("connected_at".to_owned(), json!("-infinity"));
            });
            let listed = listed.unwrap();
            assert_eq!((listed.life, listed.expires_at.is_some()), (life, has_end), "{expires_at}");
        }
        for end in ["infinity", "-infinity"] {
            let revoked = read(&|row| drop(row.insert("revoked_at".to_owned(), json!(end)))).unwrap();
            assert_eq!(revoked.life, Life::Revoked, "whenever that is");
        }
        for (field, value, says) in [
            ("id", json!("vault/p1/drive"), "id is a secret"),
            ("revoked_at", json!("when"), "revoked_at is no time"),
            ("status", json!("gone"), "status is not"),
            ("scopes", json!("read"), "scopes is not a list of texts"),
            ("profile_id", Value::Null, "profile_id is missing"),
            ("connected_at", json!("soon"), "connected_at is no time"),
        ] {
            let wrong = read(&|row| drop(row.insert(field.to_owned(), value.clone()))).unwrap_err();
            assert!(wrong.contains(says), "{wrong}");
        }
    }
}
