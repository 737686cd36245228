//! What guilds allow, refuse, and survive.

#![allow(clippy::unwrap_used)]

mod examples;
mod hall;
mod hierarchy;
mod lifecycle;
mod limits;
mod lockout;
mod properties;
mod roster;
mod scenarios;
mod table;
mod votes;
