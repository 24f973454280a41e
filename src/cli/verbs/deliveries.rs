//! `deliveries`: the mailbox, and what became of what was sent.

use super::super::args::{DeliveriesCommand, DeliveryStatusArgs, ListDeliveriesArgs};
use super::super::deliveries::summary_line;
use super::super::session::{Session, enum_value, word};
use super::super::{Failure, output, print_line, watch};
use super::time_text;
use crate::proto::v1::delivery_service as rpc;
use crate::proto::v1::{GetDeliveryStatusRequest, ListDeliveriesRequest};

/// Maximum number of batches of a list: a million deliveries.
const MAX_BATCHES: usize = 10_000;

/// Runs a command of `deliveries`.
///
/// # Errors
/// The client's.
pub async fn run(command: &DeliveriesCommand) -> Result<(), Failure> {
    match command {
        DeliveriesCommand::List(args) => list(args).await,
        DeliveriesCommand::Watch(args) => watch::run(args, &watch::DELIVERIES).await,
        DeliveriesCommand::Status(args) => status(args).await,
    }
}

async fn list(args: &ListDeliveriesArgs) -> Result<(), Failure> {
    let kinds = args.kinds.iter().map(|kind| enum_value("DeliveryKind", "DELIVERY_KIND_", "--kind", kind));
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    let session = Session::open(&args.connection).await?;
    let mut request = ListDeliveriesRequest { kinds, ..ListDeliveriesRequest::default() };
    for _ in 0..MAX_BATCHES {
        let reply = session.read(rpc::LIST_DELIVERIES, &request).await?;
        for delivery in &reply.deliveries {
            if session.is_json() {
                output::print_json("Delivery", delivery)?;
            } else {
                print_line(&summary_line(delivery));
            }
        }
        request.cursor = reply.next.or(request.cursor);
        if !reply.more {
            break;
        }
    }
    output::check_written()
}

async fn status(args: &DeliveryStatusArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetDeliveryStatusRequest { object_id: args.object.clone() };
    session
        .show(rpc::GET_DELIVERY_STATUS, &request, async |session, reply| {
            let names = session.names(reply.deliveries.iter().map(|found| found.recipient.as_str())).await;
            let rows: Vec<_> = reply
                .deliveries
                .iter()
                .map(|found| {
                    [
                        names.with_id(&found.recipient),
                        word(found.kind().as_str_name(), "DELIVERY_KIND_"),
                        word(found.stage().as_str_name(), "DELIVERY_STAGE_"),
                        time_text(found.accepted_time.as_ref()),
                        time_text(found.collected_time.as_ref()),
                        time_text(found.acknowledged_time.as_ref()),
                        time_text(found.acted_on_time.as_ref()),
                        time_text(found.due_time.as_ref()),
                    ]
                })
                .collect();
            let heading =
                ["RECIPIENT", "KIND", "STAGE", "ACCEPTED", "COLLECTED", "ACKNOWLEDGED", "ACTED ON", "DUE"];
            output::print_table(heading, &rows);
            Ok(())
        })
        .await
}
