//! Spans of exchanges: what an exporter of traces would be given.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::File;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::exchange_semantics::{mark, submission, submit};
use super::process::{Process, Sandbox};
use super::support::{World, gateway};

/// The spans that an exchange has inside.
const STAGES: [&str; 6] = ["anchor", "decide", "permit", "queue", "sync", "transaction"];

/// A span as it was made.
#[derive(Clone, Debug)]
struct MadeSpan {
    name: &'static str,
    /// Values of its own fields.
    fields: Vec<(&'static str, String)>,
    /// Values of its parent's fields.
    parent: Vec<(&'static str, String)>,
}

/// An exporter that keeps every span of the process.
#[derive(Clone, Default)]
struct Exporter(Arc<Mutex<Vec<MadeSpan>>>);

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Exporter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(Vec::new());
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        let parent = span.parent().and_then(|parent| Some(parent.extensions().get::<Fields>()?.0.clone()));
        let made =
            MadeSpan { name: span.name(), fields: fields.0.clone(), parent: parent.unwrap_or_default() };
        span.extensions_mut().insert(fields);
        self.0.lock().unwrap().push(made);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_a_span_with_its_stages_inside() {
    let exporter = Exporter::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(exporter.clone())).unwrap();
    let world = World::sqlite().await;
    let client = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let stored = submit(&client, &submission(vec![mark(&placement, "2026-11-02", "I")])).await.unwrap();
    let id = ("exchange.id", stored.receipt.exchange_id);
    let spans = exporter.0.lock().unwrap().clone();
    let exchanges: Vec<_> = spans.iter().filter(|span| span.name == "exchange").collect();
    let own: Vec<_> = exchanges.iter().filter(|span| span.fields.contains(&id)).collect();
    assert_eq!(own.len(), 1, "{spans:?}");
    let method = ("rpc.method", "\"SubmitAttendance\"".to_owned());
    assert!(own[0].fields.contains(&method), "{own:?}");
    let inside = spans.iter().filter(|span| span.parent.contains(&id)).map(|span| span.name);
    assert_eq!(inside.collect::<BTreeSet<_>>(), BTreeSet::from(STAGES));
    let names: BTreeSet<_> = exchanges.iter().flat_map(|span| &span.fields).map(|(name, _)| *name).collect();
    assert_eq!(names, BTreeSet::from(["exchange.id", "rpc.method", "rpc.service", "trace.id"]));
    // The commit of every exchange is inside one, also of those that the gateway makes itself.
    let orphans = spans.iter().filter(|span| STAGES.contains(&span.name) && span.parent.is_empty());
    assert!(orphans.count() <= STAGES.len(), "only the first entry, which `init` makes, is of no exchange");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_in_no_log_but_that_of_everything() {
    let sandbox = Sandbox::new();
    let log = sandbox.path().join("debug.log");
    let mut command = gateway();
    command.env("AP_GATEWAY_LOG", "debug").stderr(File::create(&log).unwrap());
    let process = Process::start(command, sandbox.path(), &[]);
    let client = sandbox.client("provider-a").await;
    submit(&client, &submission(vec![mark(&sandbox.placement, "2026-11-02", "I")])).await.unwrap();
    drop(client);
    assert!(process.terminate().success());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.is_empty() && !text.contains("\"span") && !text.contains("exchange.id"), "{text}");
}
