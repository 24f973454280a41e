//! The verbs: a contract that scripts rely on. Exit codes: 0 done, 1 refused, 2 usage, 64 bad input file,
//! 69 unavailable, 70 bug, 78 configuration.

mod args;
pub mod audit;
pub mod bench;
#[cfg(test)]
mod catalogue;
mod cursor;
mod deliveries;
mod demo;
pub mod exchanges;
mod exit;
mod files;
mod json;
mod message;
mod operator;
pub(crate) mod output;
mod placements;
pub mod profile;
mod rollback;
pub mod sandbox;
mod sent;
mod serve;
mod spreadsheet;
mod submit;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use args::{Arguments, AuditVerb, ListVerb, PassportVerb, PushVerb, SubmitVerb, Verb, WatchVerb};
pub use exit::Failure;
pub(crate) use output::say;

/// Longest wait for blocking work that a verb left behind when it ended.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs the verb that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(asked) => return usage(&asked),
    };
    logging();
    // The database's threads wake the committer from outside the runtime, once a statement: whoever is woken so
    // would otherwise wait behind up to 61 other tasks, a dozen times a group.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().global_queue_interval(1).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Failure::bug("could not start", error).report(),
    };
    let ended = runtime.block_on(run(arguments.verb)).and_then(|()| output::written());
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    // Dropping the runtime would wait without limit for a name that is still being resolved.
    runtime.shutdown_timeout(SHUTDOWN);
    code
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn usage(asked: &clap::Error) -> ExitCode {
    match asked.print() {
        Ok(()) => u8::try_from(asked.exit_code()).unwrap_or(2).into(),
        Err(error) => Failure::unavailable("standard output", error).report(),
    }
}

async fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Init(args) => operator::init(&args).await,
        Verb::AcceptRollback(args) => rollback::accept(&args).await,
        Verb::Migrate(args) => operator::migrate(&args).await,
        Verb::Check(args) => operator::check(&args).await,
        Verb::RotateKeys(args) => operator::rotate_keys(&args),
        Verb::ActivateKey(args) => operator::activate_key(&args).await,
        Verb::Serve(args) => serve::serve(&args).await,
        Verb::Sandbox(args) => sandbox::run(&args).await,
        Verb::Demo(args) => demo::run(&args).await,
        Verb::Submit(SubmitVerb::Attendance(args)) => submit::attendance(&args).await,
        Verb::Submit(SubmitVerb::Progress(args)) => message::send("SubmitProgress", &args).await,
        Verb::Push(PushVerb::Referral(args)) => message::push("CreateReferral", &args).await,
        Verb::Push(PushVerb::Plan(args)) => message::push("PutPlan", &args).await,
        Verb::Push(PushVerb::Passport(args)) => message::push("PutPassport", &args).await,
        Verb::Passport(PassportVerb::Get(args)) => message::passport(&args).await,
        Verb::Watch(WatchVerb::Deliveries(args)) => watch::watch(&args, &watch::DELIVERIES).await,
        Verb::Watch(WatchVerb::Alerts(args)) => watch::watch(&args, &watch::ALERTS).await,
        Verb::Placements(ListVerb::List(args)) => placements::list(&args).await,
        Verb::Audit(AuditVerb::List(args)) => exchanges::list(&args).await,
        Verb::Audit(AuditVerb::Head(args)) => audit::head(&args).await,
        Verb::Audit(AuditVerb::Verify(args)) => audit::verify(&args).await,
        Verb::Audit(AuditVerb::Prove(args)) => audit::prove(&args).await,
        Verb::Audit(AuditVerb::Export(args)) => audit::export(&args).await,
        Verb::Audit(AuditVerb::Compare(args)) => audit::compare(&args).await,
        Verb::Bench(args) => bench::run(&args).await,
    }
}

/// JSON lines on standard error; `AP_GATEWAY_LOG` chooses levels as `RUST_LOG` would. A panic tells its place
/// alone: its text may hold what was being worked on.
pub fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AP_GATEWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter);
    subscriber.try_init().ok();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a task panicked");
    }));
}
