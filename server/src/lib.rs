//! One binary, `guildhall`: HTTP, workers, configuration, subcommands. A library so that tests and embedders start the same server.

#[macro_use]
mod console;

pub mod city;
pub mod cli;
pub mod config;
mod control;
mod demo;
pub mod http;
mod importing;
mod logging;
mod recovery;
pub mod serve;
mod witness;
