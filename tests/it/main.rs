//! The gateway as its users meet it: real processes, real TLS, real databases, clients that nobody here wrote.

mod clients;
mod crash;
mod demo;
mod support;
mod story;
mod tidy;
