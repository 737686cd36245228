//! What the people of the city do with it, told over HTTP against the real server, one story a test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod callers;
mod guilds;
mod proofs;
mod treasuries;

use guildhall_tests::http::Http;
use guildhall_tests::server::{Place, Server};
use guildhall_tests::town::Town;
use guildhall_tests::{Engine, block_on};

/// A town behind a server.
pub struct Stage {
    pub place: Place,
    pub server: Server,
    pub http: Http,
    pub town: Town,
}

/// Tells a story on SQLite.
pub fn tell<F: Future<Output = ()>>(story: impl FnOnce(Stage) -> F) {
    tell_on(Engine::Sqlite, story);
}

pub fn tell_on<F: Future<Output = ()>>(engine: Engine, story: impl FnOnce(Stage) -> F) {
    block_on(async {
        let place = Place::new(engine).await;
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        story(Stage { place, server, http, town }).await;
    });
}
