//! Questions over HTTP: each reads its parameters, asks `queries` or the log, and shapes the answer.

pub mod citizens;
pub mod city;
pub mod entries;
pub mod guilds;
pub mod inventory;
pub mod receipts;
pub mod reputation;
pub mod treasuries;
