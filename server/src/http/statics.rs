//! The transparency log's own files (C2SP tlog-tiles), for anybody: hashes and signatures, and nothing else.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chain::tile::{BundleId, TileId};

use super::App;
use super::problem::{NOT_FOUND, Problem};
use super::questions::receipts;

/// Published tiles never change.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// `GET /checkpoint`
pub async fn checkpoint(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    receipts::here(&app.city)?;
    let note = app.city.anchoring.checkpoint().await?;
    let note = note.ok_or_else(|| Problem::new(NOT_FOUND).detail("nothing was published yet"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], note)
        .into_response())
}

/// `GET /tile/...`: a name that is not exactly a tile's or a bundle's never becomes a path.
pub async fn tile(State(app): State<Arc<App>>, Path(rest): Path<String>) -> Result<Response, Problem> {
    let path = format!("tile/{rest}");
    if TileId::parse(&path).is_none() && BundleId::parse(&path).is_none() {
        return Err(Problem::new(NOT_FOUND));
    }
    let bytes = app.city.anchoring.file(path).await?.ok_or_else(|| Problem::new(NOT_FOUND))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, FOR_EVER)], bytes).into_response())
}
