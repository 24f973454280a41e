//! Integration tests of the gateway: real processes, real TLS, real databases, and clients written by third
//! parties.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails at the first unexpected result"
)]

mod attack_pack;
mod attendance;
mod attendance_files;
mod audit;
mod authorisation;
mod background;
mod bad_input;
mod baselines;
mod bounds;
mod bundles;
mod call_limits;
mod canaries;
mod checkpoint_release;
mod client_timeouts;
mod clients;
mod clock_jump;
mod closures;
mod commit_groups;
mod configuration;
mod configuration_keys;
mod connection_ends;
mod connection_loss;
mod connection_refusals;
mod crash;
mod damaged_columns;
mod damaged_database;
mod database_faults;
mod deadlines;
mod demo;
mod determinism;
mod digests;
mod disk_full;
mod docs;
mod documents;
mod edits;
mod ended_rights;
mod example_requests;
mod faults;
mod fixtures;
mod formats;
mod former_parties;
mod golden;
mod init_steps;
mod key_ring_checks;
mod key_rotation;
mod library_defaults;
mod limits;
mod listener;
mod log_verification;
mod matrix;
mod nodes;
mod operators_log;
mod oversight;
mod parties;
mod passport_readers;
mod passports;
mod placement_ends;
mod postgres;
mod power_loss;
mod process;
mod push_command;
mod read_guards;
mod reader_parts;
mod register_file_cases;
mod replays;
mod restricted_codes;
mod revocation;
mod roles;
mod rollback;
mod schema;
mod schema_versions;
mod serve_process;
mod silent_sockets;
mod simulated_disk;
mod small_windows;
mod startup_checks;
mod state_refusals;
mod statements;
mod stream_interruption;
mod stream_parts;

mod commit_outcome_unknown;
mod exchange_semantics;
mod json_commands;
mod log_completeness;
mod log_watch;
mod multiple_placements;
mod nightly_submission;
mod structure;
mod support;
mod syscall_trace;
mod tidy;
mod tls_scan;
mod unreadable;
mod upload;
mod watch_command;
mod wire;
