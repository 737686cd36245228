//! Every refusal and every good path of treasuries, and random histories that must always add up.

#![allow(clippy::unwrap_used)]

mod bank;
mod deposits;
mod governed;
mod histories;
mod holds;
mod standing;
mod transfers;
