//! A secure gateway between the commissioners and the providers of alternative provision.
//!
#![doc = include_str!("ARCHITECTURE.md")]

pub mod audit;
pub mod calendar;
pub mod cli;
pub mod client;
pub mod clock;
pub mod codes;
pub mod config;
pub mod delivery;
pub mod exchange;
pub mod gateway;
#[cfg(test)]
#[path = "../tests/it/golden.rs"]
mod golden;
pub mod identity;
pub mod oversight;
pub mod passports;
pub mod placements;
pub mod proto;
pub mod register;
pub mod returns;
pub mod seal;
pub mod server;
pub mod store;
pub mod tlog;
