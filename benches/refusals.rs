//! Timing side channel of refusals: whether the time of a refusal distinguishes another's id from an invented one.
//! The measure is the area under the ROC curve over 2,000 interleaved calls of each method; 0.5 means
//! indistinguishable. Cold: each id is requested once from a server that has just started. Warm: one id is
//! requested repeatedly.
//!
//! The same of invalid tokens: whether the time of a refusal distinguishes one fault from the others.
//!
//! `cargo bench --bench refusals`

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench fails at the first unexpected result, and prints its results"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox::ClockMode;
use ap_gateway::cli::token::{TokenContent, TokenSigner};
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{Client, ClientError};
use ap_gateway::clock::{Clock, Randomness, SystemClock};
use ap_gateway::proto::Rpc;
use ap_gateway::proto::v1::{
    ChildIdentity, CreateReferralRequest, GetAttendanceRequest, GetExchangeRequest, GetOrganisationRequest,
    GetPlacementRequest, LegalBasis, Officer, PlacementReason, audit_service, placement_service,
    register_service, returns_service,
};
use prost::Message;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Calls of each method, half of them with another's id.
const CALLS: usize = 2_000;
const CLOCK: &str = "2026-11-20T16:00:00Z";

/// Ids of another organisation's objects, and invented ids.
struct Ids {
    placements: Vec<String>,
    exchanges: Vec<String>,
    invented: Vec<String>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve(folder.path()).await;
    let ids = create_referrals(folder.path()).await;
    served.stop().await.unwrap();
    println!("{:<16} {:>6} {:>6}", "AUC", "cold", "warm");
    for method in ["GetPlacement", "GetAttendance", "GetExchange"] {
        let mut areas = Vec::new();
        for warm in [false, true] {
            // A new server has none of these ids cached.
            let served = serve(folder.path()).await;
            let stranger =
                profile::connect(&sandbox::profile_path(folder.path(), "provider-c")).await.unwrap();
            areas.push(compare(&stranger, method, &ids, warm).await);
            drop(stranger);
            served.stop().await.unwrap();
        }
        println!("{method:<16} {:>6.3} {:>6.3}", areas[0], areas[1]);
    }
    compare_tokens(folder.path()).await;
}

/// Compares the refusals of tokens with each fault to those of all others, in random order. Cold: another token in each
/// call. Warm: one token of each fault.
async fn compare_tokens(dir: &Path) {
    let served = serve(dir).await;
    let client = profile::connect(&sandbox::profile_path(dir, "provider-a")).await.unwrap();
    let faulty = faulty_tokens(dir);
    let mut areas = vec![[0.0; 2]; faulty.len()];
    for (column, warm) in [false, true].into_iter().enumerate() {
        let mut times = vec![Vec::new(); faulty.len()];
        for call in 0..CALLS / 2 {
            let mut order: Vec<usize> = (0..faulty.len()).collect();
            shuffle(&mut order);
            for fault in order {
                let token = &faulty[fault].1[if warm { 0 } else { call }];
                let caller = client.clone().with_token(token).unwrap();
                let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
                let refused = tonic::Code::Unauthenticated;
                times[fault]
                    .push(time_call(&caller, register_service::GET_ORGANISATION, &request, refused).await);
            }
        }
        for (fault, area) in areas.iter_mut().enumerate() {
            let others = (0..faulty.len()).filter(|other| *other != fault);
            let others: Vec<Duration> = others.flat_map(|other| times[other].iter().copied()).collect();
            area[column] = roc_area(&times[fault], &others);
        }
    }
    println!("\n{:<24} {:>6} {:>6}", "AUC of invalid tokens", "cold", "warm");
    for ((fault, _), [cold, warm]) in faulty.iter().zip(areas) {
        println!("{fault:<24} {cold:>6.3} {warm:>6.3}");
    }
    drop(client);
    served.stop().await.unwrap();
}

/// Returns tokens with each fault, half as many as there are calls.
fn faulty_tokens(dir: &Path) -> [(&'static str, Vec<String>); 4] {
    let random = Randomness::system();
    let load_signer = |name: &str| TokenSigner::load(&dir.join(format!("certs/{name}-issuer.key"))).unwrap();
    let certificate =
        |name: &str| CertificateDer::from_pem_file(dir.join(format!("certs/{name}.pem"))).unwrap();
    let (own, other) = (load_signer("provider-a"), load_signer("la-a"));
    let (bound, stolen) = (certificate("provider-a"), certificate("provider-a-old"));
    let tokens = |signer: &TokenSigner, issuer: &str, certificate: &[u8]| -> Vec<String> {
        let content = TokenContent {
            issuer,
            subject: "jo.example",
            name: "Jo Example",
            role: "dsl",
            purpose: "safeguarding",
            organisation: "provider/riverside",
            audience: "https://sandbox.ap.example",
            certificate,
            now: SystemClock.now(),
            minutes: 15,
        };
        (0..CALLS / 2).map(|_| signer.sign(&content, &random).unwrap()).collect()
    };
    let issuer = "https://provider-a.sandbox.ap.example";
    let forged = tokens(&own, issuer, &bound).into_iter().map(|token| {
        // Another signature of the same length.
        let (content, signature) = token.rsplit_once('.').unwrap();
        format!("{content}.{}{}", if signature.starts_with('B') { "A" } else { "B" }, &signature[1..])
    });
    [
        ("unknown issuer", tokens(&own, "https://provider-x.sandbox.ap.example", &bound)),
        ("unknown key", tokens(&other, issuer, &bound)),
        ("bad signature", forged.collect()),
        ("wrong certificate", tokens(&own, issuer, &stolen)),
    ]
}

/// Shuffles a few numbers (Fisher-Yates; the bias of a byte's remainder does not matter here).
fn shuffle(order: &mut [usize]) {
    let mut bytes = [0; 8];
    Randomness::system().fill(&mut bytes);
    for last in (1..order.len()).rev() {
        order.swap(last, usize::from(bytes[last]) % (last + 1));
    }
}

async fn serve(dir: &Path) -> sandbox::RunningSandbox {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    sandbox::start(dir, local, ClockMode::HeldAt(CLOCK), None, &Randomness::system()).await.unwrap()
}

/// Creates referrals; returns their ids and those of their exchanges.
async fn create_referrals(dir: &Path) -> Ids {
    let la = profile::connect(&sandbox::profile_path(dir, "la-a")).await.unwrap();
    let agreed = sandbox::world::load(dir).unwrap().agreements;
    let agreed =
        agreed.into_iter().find(|it| (&*it.commissioner, &*it.provider) == ("la-a", "provider-a")).unwrap();
    let random = Randomness::system();
    let id = || random.uuid_v4().hyphenated().to_string();
    let mut ids = Ids { placements: Vec::new(), exchanges: Vec::new(), invented: Vec::new() };
    for _ in 0..CALLS / 2 {
        let request = CreateReferralRequest {
            request_id: id(),
            provider: "provider/riverside".to_owned(),
            child: Some(ChildIdentity {
                legal_surname: "Kestrel".to_owned(),
                legal_forename: "Wren".to_owned(),
                date_of_birth: "2012-03-04".to_owned(),
                ..ChildIdentity::default()
            }),
            la_of_residence: "la/330".to_owned(),
            legal_basis: LegalBasis::Section19 as i32,
            reason: PlacementReason::MentalHealth as i32,
            agreement_id: agreed.agreement_id.clone(),
            safety: "none known".to_owned(),
            officer: Some(Officer {
                name: "Sam Example".to_owned(),
                role: "AP officer".to_owned(),
                ..Officer::default()
            }),
            ..CreateReferralRequest::default()
        };
        let made = la.call(placement_service::CREATE_REFERRAL, &request).await.unwrap();
        ids.placements.push(made.message.placement_id);
        ids.exchanges.push(made.receipt.exchange_id);
        ids.invented.push(id());
    }
    ids
}

/// Requests others' and invented ids in random order and compares the times of the refusals.
async fn compare(stranger: &Client, method: &str, ids: &Ids, warm: bool) -> f64 {
    let random = Randomness::system();
    let own = if method == "GetExchange" { &ids.exchanges } else { &ids.placements };
    let (mut others, mut invented) = (Vec::new(), Vec::new());
    for pair in 0..CALLS / 2 {
        let at = if warm { 0 } else { pair };
        let mut first = [0];
        random.fill(&mut first);
        for turn in 0..2 {
            if (first[0] + turn) % 2 == 0 {
                others.push(time_refusal(stranger, method, &own[at]).await);
            } else {
                invented.push(time_refusal(stranger, method, &ids.invented[at]).await);
            }
        }
    }
    roc_area(&others, &invented)
}

async fn time_refusal(client: &Client, method: &str, id: &str) -> Duration {
    let id = id.to_owned();
    match method {
        "GetPlacement" => {
            let request = GetPlacementRequest { placement_id: id };
            time_call(client, placement_service::GET_PLACEMENT, &request, tonic::Code::NotFound).await
        }
        "GetAttendance" => {
            let request = GetAttendanceRequest {
                placement_id: id,
                from_date: "2026-09-01".to_owned(),
                to_date: "2026-11-20".to_owned(),
                ..GetAttendanceRequest::default()
            };
            time_call(client, returns_service::GET_ATTENDANCE, &request, tonic::Code::NotFound).await
        }
        _ => {
            let request = GetExchangeRequest { exchange_id: id };
            time_call(client, audit_service::GET_EXCHANGE, &request, tonic::Code::NotFound).await
        }
    }
}

async fn time_call<Req: Message, Resp: Message + Default + std::fmt::Debug>(
    client: &Client,
    rpc: Rpc<Req, Resp>,
    request: &Req,
    refused: tonic::Code,
) -> Duration {
    let began = Instant::now();
    let answer = client.call(rpc, request).await;
    let took = began.elapsed();
    assert!(matches!(answer, Err(ClientError::Refused(status)) if status.code() == refused));
    took
}

/// Returns how often a refusal of another's id took longer than one of an invented id; ties count half.
fn roc_area(others: &[Duration], invented: &[Duration]) -> f64 {
    let mut sorted = invented.to_vec();
    sorted.sort_unstable();
    let above = |other: &Duration| {
        let (below, up_to) =
            (sorted.partition_point(|it| it < other), sorted.partition_point(|it| it <= other));
        (below + up_to) as f64 / 2.0
    };
    others.iter().map(above).sum::<f64>() / (others.len() * invented.len()) as f64
}
