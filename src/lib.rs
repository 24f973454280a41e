//! A secure gateway between the commissioners and the providers of alternative provision.
//!
#![doc = include_str!("ARCHITECTURE.md")]

#[cfg(feature = "server")]
pub mod audit;
#[cfg(feature = "server")]
pub mod backup;
#[cfg(feature = "server")]
pub mod calendar;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod clock;
#[cfg(feature = "server")]
pub mod codes;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod delivery;
#[cfg(feature = "server")]
pub mod exchange;
#[cfg(feature = "server")]
pub mod gateway;
#[cfg(feature = "server")]
#[cfg(test)]
#[path = "../tests/it/golden.rs"]
mod golden;
#[cfg(feature = "server")]
pub mod identity;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod oversight;
#[cfg(feature = "server")]
pub mod passports;
#[cfg(feature = "server")]
pub mod placements;
#[cfg(feature = "client")]
pub mod proto;
#[cfg(feature = "server")]
pub mod register;
#[cfg(feature = "server")]
pub mod returns;
#[cfg(feature = "server")]
pub mod seal;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "client")]
pub mod tlog;
pub mod violation_reason;
