//! Command-line interface. Its commands, flags and exit codes are stable, because scripts rely on them. Exit codes:
//! 0 success, 1 refused, 2 usage, 64 bad input file, 69 unavailable, 70 bug, 78 configuration.

mod alerts;
mod args;
pub mod audit;
mod backup;
#[cfg(feature = "world")]
pub mod bench;
pub mod bundle;
pub mod call;
#[cfg(test)]
mod catalogue;
mod cursor;
mod definitions;
mod deliveries;
#[cfg(feature = "world")]
mod demo;
mod doctor;
mod entry_json;
pub mod exchanges;
mod failure;
mod files;
mod health;
mod init;
mod input;
pub mod issuer;
mod json_decode;
mod json_request;
mod key_files;
mod log_writer;
mod names;
mod node;
mod operator;
pub(crate) mod output;
mod passport;
mod placements;
mod practitioner;
pub mod profile;
mod report;
mod rollback;
#[cfg(feature = "world")]
pub mod sandbox;
mod sent_requests;
mod serve;
mod session;
mod spreadsheet_writer;
mod status;
mod submit;
pub mod token;
mod verbs;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use args::{
    AlertsCommand, Arguments, AuditCommand, Command, IssuerCommand, ListCommand, PractitionerCommand,
    PushCommand, ReportCommand, SubmitCommand, WatchCommand,
};
pub use failure::Failure;
use log_writer::LogWriter;
pub(crate) use output::print_line;

/// What is logged unless `AP_GATEWAY_LOG` says otherwise. The TLS library warns of the messages of any peer, unknown ones
/// included, in lines that are long and not folded. The database library warns of each slow statement with its text, and
/// of each lost connection, which the gateway reports itself.
const DEFAULT_LOG_LEVELS: &str = "warn,rustls=error,sqlx=error";
/// Longest wait for blocking tasks that are still running when a command ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the command that the arguments name; returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(asked) => return print_usage(&asked),
    };
    init_logging();
    // The database's threads wake the committer from outside the runtime after each statement. With the default
    // interval such a task can wait behind up to 61 others, a dozen times for each group of proposals.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().global_queue_interval(1).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Failure::bug("could not start", error).report(),
    };
    let ended = runtime.block_on(run(arguments.command)).and_then(|()| output::check_written());
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    // Dropping the runtime would wait without a limit for a running DNS lookup.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    LogWriter::flush();
    code
}

/// Prints the requested help, or the error in the arguments.
fn print_usage(asked: &clap::Error) -> ExitCode {
    match asked.print() {
        Ok(()) => u8::try_from(asked.exit_code()).unwrap_or(2).into(),
        Err(error) => Failure::unavailable("standard output", error).report(),
    }
}

async fn run(verb: Command) -> Result<(), Failure> {
    match verb {
        Command::Init(args) => init::init(&args).await,
        Command::AcceptRollback(args) => rollback::accept(&args).await,
        Command::Backup(args) => backup::backup(&args).await,
        Command::Restore(args) => backup::restore(&args).await,
        Command::Migrate(args) => operator::migrate(&args).await,
        Command::Node(command) => node::run(&command).await,
        Command::Check(args) => operator::check(&args).await,
        Command::RotateKeys(args) => operator::rotate_keys(&args),
        Command::ActivateKey(args) => operator::activate_key(&args).await,
        Command::Health(args) => health::health(&args).await,
        Command::Serve(args) => serve::serve(&args).await,
        #[cfg(feature = "world")]
        Command::Sandbox(args) => sandbox::run(&args).await,
        #[cfg(feature = "world")]
        Command::Demo(args) => demo::run(&args).await,
        Command::Submit(SubmitCommand::Attendance(args)) => submit::attendance(&args).await,
        Command::Submit(SubmitCommand::Progress(args)) => {
            json_request::send("SubmitProgress", &args.files, &args.connection).await
        }
        Command::Push(PushCommand::Referral(args)) => json_request::push("CreateReferral", &args).await,
        Command::Push(PushCommand::Plan(args)) => json_request::push("PutPlan", &args).await,
        Command::Push(PushCommand::Passport(args)) => json_request::push("PutPassport", &args).await,
        Command::Passport(command) => passport::run(&command).await,
        Command::Org(command) => verbs::org::run(&command).await,
        Command::Cert(command) => verbs::cert::run(&command).await,
        Command::Agreement(command) => verbs::agreement::run(&command).await,
        Command::Grant(command) => verbs::grant::run(&command).await,
        Command::Terms(command) => verbs::terms::run(&command).await,
        Command::Closure(command) => verbs::closure::run(&command).await,
        Command::Referral(command) => verbs::referral::run(&command).await,
        Command::Placement(command) => verbs::placement::run(&command).await,
        Command::Plan(command) => verbs::plan::run(&command).await,
        Command::Returns(command) => verbs::returns::run(&command).await,
        Command::Marks(command) => verbs::marks::run(&command).await,
        Command::Absence(command) => verbs::absence::run(&command).await,
        Command::Progress(command) => verbs::progress::run(&command).await,
        Command::Deliveries(command) => verbs::deliveries::run(&command).await,
        Command::Exchange(command) => verbs::exchange::run(&command).await,
        Command::Breach(command) => verbs::breach::run(&command).await,
        Command::Review(command) => verbs::review::run(&command).await,
        Command::Watch(WatchCommand::Deliveries(args)) => watch::run(&args, &watch::DELIVERIES).await,
        Command::Watch(WatchCommand::Alerts(args)) => watch::run(&args, &watch::ALERTS).await,
        Command::Report(ReportCommand::Findings(args)) => report::findings(&args).await,
        Command::Alerts(AlertsCommand::List(args)) => alerts::list(&args).await,
        Command::Alerts(AlertsCommand::Resolve(args)) => alerts::resolve(&args).await,
        Command::Issuer(IssuerCommand::Register(args)) => issuer::register(&args).await,
        Command::Issuer(IssuerCommand::End(args)) => issuer::end(&args).await,
        Command::Issuer(IssuerCommand::List(args)) => issuer::list(&args).await,
        Command::Practitioner(PractitionerCommand::List(args)) => practitioner::list(&args).await,
        Command::Practitioner(PractitionerCommand::End(args)) => practitioner::end(&args).await,
        Command::Token(args) => token::print(&args),
        Command::Status(args) => status::list(&args).await,
        Command::Placements(ListCommand::List(args)) => verbs::placement::list(&args).await,
        Command::Profile(command) => verbs::profile::run(&command),
        Command::Completions(args) => definitions::print_completions(&args),
        Command::Man(args) => definitions::write_man_pages(&args),
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Call(args) => call::run(&args).await,
        Command::Audit(AuditCommand::List(args)) => exchanges::list(&args).await,
        Command::Audit(AuditCommand::Head(args)) => audit::print_newest_checkpoint(&args).await,
        Command::Audit(AuditCommand::Verify(args)) => audit::verify(&args).await,
        Command::Audit(AuditCommand::Prove(args)) => audit::prove(&args).await,
        Command::Audit(AuditCommand::Check(args)) => bundle::check(&args),
        Command::Audit(AuditCommand::Export(args)) => audit::export(&args).await,
        Command::Audit(AuditCommand::Compare(args)) => audit::compare(&args).await,
        #[cfg(feature = "world")]
        Command::Bench(args) => bench::run(&args).await,
    }
}

/// Starts logging of JSON lines to standard error. `AP_GATEWAY_LOG` sets levels with the syntax of `RUST_LOG`. A panic
/// is logged with its source location only, because its message may contain personal data. Nothing waits for the log,
/// and nothing fails because it cannot be written.
pub fn init_logging() {
    let asked = std::env::var_os("AP_GATEWAY_LOG").filter(|levels| !levels.is_empty());
    let asked_filter = asked.as_ref().and_then(|levels| log_filter(levels.to_str()?));
    let is_unknown = asked.is_some() && asked_filter.is_none();
    let with_modules = asked_filter.is_some();
    let filter = asked_filter.unwrap_or_else(|| tracing_subscriber::EnvFilter::new(DEFAULT_LOG_LEVELS));
    if let Ok(writer) = LogWriter::start() {
        // Modules are of use only to those who asked for more than the default.
        // Spans are for an exporter, which is one more layer here. Only who asks for everything has them in the log.
        let is_all = filter.max_level_hint() == Some(LevelFilter::TRACE);
        let ends = if is_all { FmtSpan::CLOSE } else { FmtSpan::NONE };
        let format = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(with_modules);
        let format = format.with_current_span(is_all).with_span_list(is_all).with_span_events(ends);
        let format = format.log_internal_errors(false).with_writer(writer).with_filter(filter);
        tracing_subscriber::registry().with(format).try_init().ok();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a task panicked");
    }));
    if is_unknown {
        tracing::warn!(
            "AP_GATEWAY_LOG is not used: it must be levels (error, warn, info, debug, trace, off) or target=level, \
             separated by commas"
        );
    }
}

/// Parses levels of the log; `None` if one is misspelt. The library would take a misspelt level for the name of a module,
/// and log nothing else.
fn log_filter(levels: &str) -> Option<tracing_subscriber::EnvFilter> {
    let is_known = |directive: &str| {
        let directive = directive.trim();
        directive.contains('=') || directive.parse::<LevelFilter>().is_ok_and(|_| !directive.is_empty())
    };
    levels.split(',').all(is_known).then(|| tracing_subscriber::EnvFilter::try_new(levels).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for known in ["info", "WARN", "warn,rustls=error", "ap_gateway::server=debug, off"] {
            assert!(log_filter(known).is_some(), "{known}");
        }
        for unknown in ["inof", "info,", "info;debug", "ap_gateway", "ap_gateway=inof"] {
            assert!(log_filter(unknown).is_none(), "{unknown}");
        }
    }
}
