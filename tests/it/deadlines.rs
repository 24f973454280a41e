//! Deadlines: `grpc-timeout` bounds the caller's wait only. The request takes effect once or not at all, and a
//! retry shows which (bad-input catalogue B90, B91).

use std::convert::Infallible;
use std::time::Duration;

use ap_gateway::cli::audit;
use ap_gateway::proto::v1::{Outcome, SubmitAttendanceRequest};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use prost::bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::body::Body;

use super::exchange_semantics::{get_attendance, mark, submission, submit};
use super::support::World;
use super::wire::{Answer, Wire, frame};

const SUBMIT: &str = "/apgateway.v1.ReturnsService/SubmitAttendance";
const WATCH: &str = "/apgateway.v1.DeliveryService/WatchDeliveries";

async fn submit_with_timeout(wire: &Wire, request: &SubmitAttendanceRequest, timeout: &str) -> Answer {
    wire.send(SUBMIT, &[("grpc-timeout", timeout)], frame(&request.encode_to_vec())).await.unwrap()
}

/// Returns outcome and reason of the provider's submissions, newest first.
async fn submission_entries(world: &World) -> Vec<(Outcome, String)> {
    let exchanges = audit::list_all_exchanges(&world.client("provider-a").await).await.unwrap();
    let submissions = exchanges.into_iter().filter(|exchange| exchange.method == SUBMIT);
    submissions.map(|exchange| (exchange.outcome(), exchange.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_time_at_all_is_a_deadline_that_has_passed() {
    let world = World::sqlite().await;
    let (wire, riverside) =
        (Wire::connect(world.dir.path(), "provider-a").await, world.client("provider-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    for (day, timeout) in [("2026-11-02", "0n"), ("2026-11-03", "1n")] {
        let request = submission(vec![mark(&placement, day, "/")]);
        let late = submit_with_timeout(&wire, &request, timeout).await;
        assert_eq!(
            (late.status().code(), late.reason().as_str()),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        );
        assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
    }
    assert_eq!(get_attendance(&riverside, &placement).await.unwrap().marks.len(), 2);
    assert_eq!(submission_entries(&world).await.len(), 4, "each call is one exchange");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_timeout_counts_as_none() {
    let world = World::sqlite().await;
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    for timeout in ["abc", "-1S", "999999999S", "", "5", "0s", "99999999H"] {
        let answer =
            submit_with_timeout(&wire, &submission(vec![mark(&placement, "2026-11-02", "/")]), timeout).await;
        assert_eq!(answer.reason(), "OK", "{timeout}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_outlives_its_caller_s_patience() {
    let world = World::sqlite().await;
    let (wire, riverside) =
        (Wire::connect(world.dir.path(), "provider-a").await, world.client("provider-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let request = submission(vec![mark(&placement, "2026-11-02", "/")]);
    world.queue().set_paused(true);
    let late = submit_with_timeout(&wire, &request, "300m").await;
    assert_eq!(late.status().code(), Code::DeadlineExceeded);
    world.wait_for_queued(1).await;
    world.queue().set_paused(false);
    let replayed = submit(&riverside, &request).await.unwrap();
    assert_eq!((replayed.message.stored, replayed.receipt.exchange_id), (1, late.exchange()));
    assert_eq!(
        submission_entries(&world).await,
        [(Outcome::Replayed, String::new()), (Outcome::Ok, String::new())]
    );
    world.stop().await;
}

/// Checks that a request that does not arrive completely in time is refused and logged, without effect.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_is_not_waited_for() {
    let world = World::sqlite().await;
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let message = frame(&submission(vec![mark(&placement, "2026-11-02", "/")]).encode_to_vec());
    let half = tokio_stream::once(Ok::<_, Infallible>(Frame::data(message.slice(..message.len() / 2))));
    let body = Body::new(StreamBody::new(half.chain(tokio_stream::pending())));
    let (parts, _) = wire.begin(SUBMIT, &[("grpc-timeout", "300m")], body).await.unwrap();
    let (http, message) = (parts.status.as_u16(), Bytes::new());
    let answer = Answer { http, headers: parts.headers, message, messages: Vec::new() };
    assert_eq!(answer.reason(), "DEADLINE_EXCEEDED");
    assert_eq!(submission_entries(&world).await, [(Outcome::Refused, "DEADLINE_EXCEEDED".to_owned())]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_its_caller_s_deadline() {
    let world = World::sqlite().await;
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let opened =
        wire.begin(WATCH, &[("grpc-timeout", "500m")], Body::new(http_body_util::Full::new(frame(&[]))));
    let (_, mut body) = opened.await.unwrap();
    let (mut messages, mut ended) = (0, None);
    let all = tokio::time::timeout(Duration::from_mins(1), async {
        while let Some(next) = http_body_util::BodyExt::frame(&mut body).await {
            match next.unwrap().into_data() {
                Ok(_) => messages += 1,
                Err(rest) => ended = tonic::Status::from_header_map(&rest.into_trailers().unwrap()),
            }
        }
    });
    all.await.unwrap();
    assert_eq!(ended.unwrap().code(), Code::DeadlineExceeded);
    assert!(messages >= 2, "the opening message and the deliveries of the mailbox");
    world.stop().await;
}
