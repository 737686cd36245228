//! The way to the time authority, from the settings of `[anchor.time]`.

use std::sync::Arc;
use std::time::Duration;

use anchor::{HttpAuthority, TimeSource};
use anyhow::Context as _;
use timestamp::Roots;

use crate::config::Settings;

/// Who is asked for the time of each anchor, if the settings name somebody.
pub fn of(settings: &Settings) -> anyhow::Result<Option<TimeSource>> {
    let Some(time) = &settings.anchor.time else { return Ok(None) };
    let place = time.roots.display();
    let pem = std::fs::read(&time.roots).with_context(|| format!("reading anchor.time.roots {place}"))?;
    let roots = Roots::from_pem(&pem).with_context(|| format!("reading anchor.time.roots {place}"))?;
    let url = time.url.parse().context("anchor.time.url is no address")?;
    sources::prepare_tls();
    let client = reqwest::Client::builder()
        // An address is a promise of who answers there.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("guildhall/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let authority = HttpAuthority::new(client, url, roots, Duration::from_millis(time.deadline_ms));
    let (required, wrong_clock) = (time.required, time.wrong_clock);
    Ok(Some(TimeSource { authority: Arc::new(authority), required, wrong_clock }))
}
