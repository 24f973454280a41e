//! The gateway as its users meet it: real processes, real TLS, real databases, clients that nobody here wrote.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod attendance;
mod audit;
mod authority;
mod background;
mod bad_input;
mod bounds;
mod canaries;
mod cases;
mod clients;
mod closures;
mod crash;
mod cut;
mod cuts;
mod deadlines;
mod demo;
mod digests;
mod disk;
mod documents;
mod ends;
mod facts;
mod faults;
mod files;
mod former;
mod full;
mod groups;
mod kept;
mod limits;
mod listener;
mod matrix;
mod nodes;
mod opening;
mod oversight;
mod parties;
mod parts;
mod passports;
mod postgres;
mod power;
mod process;
mod pushes;
mod read_guards;
mod replays;
mod restricted;
mod revocation;
mod roles;
mod rollback;
mod rotation;
mod rows;
mod safety;
mod sameness;
mod served;
mod silence;
mod stage;
mod startup;
mod statements;
mod states;

mod story;
mod support;
mod tally;
mod tidy;
mod trace;
mod twice_placed;
mod unknown;
mod unreadable;
mod upload;
mod verbs;
mod watching;
mod wire;
