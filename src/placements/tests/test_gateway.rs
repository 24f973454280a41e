//! A gateway without a network: a real database, committer and exchange pipeline, and callers with certificates.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::Service as _;
use uuid::Uuid;

use super::fixtures::{LA, a_child, a_referral};
use crate::clock::{Clock, Instant, ManualClock, Randomness};
use crate::exchange::caller::CallerCache;
use crate::exchange::person::PersonCache;
use crate::exchange::{
    CallLimiter, CallLimits, ExchangePipeline, ExchangeService, MessageLimits, MethodTable, RefusalLog,
    Routes, UNLIMITED,
};
use crate::identity::pki::{SandboxAuthority, Validity};
use crate::identity::{CertificateStatus, PeerCertificate};
use crate::metrics::{CommitMetrics, ExchangeMetrics};
use crate::proto::Rpc;
use crate::proto::v1::{
    AgreementState, CreateReferralResponse, GetPlacementRequest, GetPlacementResponse, ListPlacementsRequest,
    placement_service as methods,
};
use crate::seal::{CommitmentKey, KeyRing, Vault};
use crate::store::log::LogTree;
use crate::store::sql::Conn;
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Anchor, Committer, Database, DatabaseLocation, LogReader, SequencerHandle, Value};
use crate::tlog::{Checkpoint, Signer, tree_root};

pub const AGREEMENT: Uuid = Uuid::from_u128(0x0a_11ce);
const ORGANISATIONS: [&str; 7] = [
    "la/330",
    "la/331",
    "school/123456",
    "school/123457",
    "provider/riverside",
    "provider/brightwater",
    "auditor/ofsted",
];

pub struct TestGateway {
    service: ExchangeService,
    pub database: Database,
    certificates: Vec<Arc<PeerCertificate>>,
    _sequencer: SequencerHandle,
    _folder: tempfile::TempDir,
}

impl TestGateway {
    /// Starts a gateway with all organisations registered and one agreement, on 2026-11-20.
    pub async fn new() -> Self {
        tracing_subscriber::fmt().with_test_writer().try_init().ok();
        let folder = tempfile::tempdir().unwrap();
        let random = Randomness::seeded(b"placements");
        let fill = |bytes: &mut [u8]| random.fill(bytes);
        let ring =
            KeyRing::create(&folder.path().join("ring"), jiff::civil::date(2026, 9, 1), &fill).unwrap();
        let commitment_key = CommitmentKey::create(&folder.path().join("commitment-key"), &fill).unwrap();
        let database = Database::create(&DatabaseLocation::Sqlite(folder.path().join("db"))).await.unwrap();
        database.migrate().await.unwrap();
        let signer = Signer::from_seed("test", &[7; 32]).unwrap();
        let note = signer.sign(&Checkpoint::new("test", 0, tree_root(&[])).to_string());
        let certificates = certificates();
        let mut conn = database.writer().await.unwrap();
        let checkpoint = "INSERT INTO checkpoints (size, time, note) VALUES (0, 0, $1)";
        conn.execute(checkpoint, vec![note.as_str().into()]).await.unwrap();
        register(&mut conn, &certificates).await;
        let tree = LogTree::load(&mut conn, signer.key_history()).await.unwrap();
        drop(conn);
        Anchor::create(&folder.path().join("anchor"), &note).unwrap();
        let (anchor, _) = Anchor::open(&folder.path().join("anchor")).unwrap();
        let clock: Arc<dyn Clock> =
            Arc::new(ManualClock::new(Instant::from_micros(1_795_190_400_000_000).unwrap()));
        let keys = signer.key_history().clone();
        let (committer, sequencer) = Committer::new(
            database.clone(),
            tree,
            signer,
            anchor,
            Arc::clone(&clock),
            1_000,
            &CommitMetrics::default(),
        );
        let sequencer = SequencerHandle::start(sequencer);
        let pipeline = ExchangePipeline {
            methods: MethodTable(&[crate::placements::METHODS]),
            identify: |snapshot, claims| Box::pin(crate::register::callers::identify(snapshot, claims)),
            caller_cache: CallerCache::default(),
            limiter: CallLimiter::new(CallLimits {
                requests_per_second: UNLIMITED,
                request_burst: UNLIMITED,
                refusals_per_second: UNLIMITED,
            }),
            refusal_log: RefusalLog::default(),
            identify_person: |snapshot, claims| {
                Box::pin(crate::register::practitioners::identify(snapshot, claims))
            },
            person_cache: PersonCache::default(),
            token_audience: None,
            log: LogReader::new(database.clone()),
            log_keys: Arc::new(keys),
            committer,
            vault: Arc::new(Vault::new(ring, commitment_key, 100)),
            system_clock: Arc::clone(&clock),
            clock,
            random,
            certificate_status: Arc::new(|_| CertificateStatus::Valid),
            stopping: tokio::sync::watch::channel(false).1,
            limits: crate::config::LimitsConfig::default().exchange_limits(),
            metrics: ExchangeMetrics::default(),
            settings: Arc::default(),
            delivery_deadlines: Arc::default(),
        };
        let service = ExchangeService::new(
            crate::placements::routes(Routes::default()),
            Arc::new(pipeline),
            MessageLimits::default(),
        );
        Self { service, database, certificates, _sequencer: sequencer, _folder: folder }
    }

    /// Calls a method as an organisation.
    pub async fn call<Req: Message, Resp: Message + Default>(
        &self,
        who: &str,
        rpc: Rpc<Req, Resp>,
        message: &Req,
    ) -> Result<Resp, Status> {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut frame).unwrap();
        let certificate =
            self.certificates.iter().find(|known| known.organisation().as_str() == who).unwrap();
        let request = http::Request::post(rpc.path())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .extension(Arc::clone(certificate))
            .body(Body::new(Full::new(frame.freeze())))
            .unwrap();
        let response = self.service.clone().call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let status = Status::from_header_map(&head.headers)
            .or_else(|| Status::from_header_map(body.trailers().unwrap()))
            .unwrap();
        if status.code() != Code::Ok {
            return Err(status);
        }
        let bytes: Bytes = body.to_bytes();
        Ok(Resp::decode(bytes.slice(5..)).unwrap())
    }

    /// Calls a method and returns the reason of the refusal, with the fields at fault.
    pub async fn refusal_reason<Req: Message, Resp: Message + Default>(
        &self,
        who: &str,
        rpc: Rpc<Req, Resp>,
        message: &Req,
    ) -> String {
        let status = self.call(who, rpc, message).await.err().unwrap();
        let details = status.get_error_details();
        let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        let fields: Vec<String> = fields.into_iter().map(|fault| fault.field).collect();
        let reason = details.error_info().unwrap().reason.clone();
        if fields.is_empty() { reason } else { format!("{reason} {}", fields.join(" ")) }
    }

    /// Runs a query and returns each row as text, its values joined by spaces; NULL is `-`.
    pub async fn query_as_text(&self, sql: &'static str) -> Vec<String> {
        let rows = self.database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
        let shown = |value: &Value| match value {
            Value::Int(Some(number)) => number.to_string(),
            Value::Text(Some(text)) => text.clone(),
            Value::Blob(Some(bytes)) => format!("{} bytes", bytes.len()),
            _ => "-".to_owned(),
        };
        rows.iter().map(|row| row.values().iter().map(shown).collect::<Vec<_>>().join(" ")).collect()
    }
}

fn certificates() -> Vec<Arc<PeerCertificate>> {
    let validity = Validity { from: 1_600_000_000, to: 1_900_000_000 };
    let authority = SandboxAuthority::new("test", validity).unwrap();
    let one = |(serial, organisation): (u64, &str)| {
        let uri = format!("spiffe://ap.test/{organisation}/mis");
        let issued = authority.issue_client(&[&uri], serial, validity).unwrap();
        Arc::new(PeerCertificate::parse(&issued.der).unwrap())
    };
    (1..).zip(ORGANISATIONS).map(one).collect()
}

/// Writes the register's rows, at negative log indexes that no entry has.
async fn register(conn: &mut Conn, certificates: &[Arc<PeerCertificate>]) {
    let head = "INSERT INTO current_versions (key, version, idx, ordinal) VALUES ($1, 1, $2, 0)";
    for (at, certificate) in (1_i64..).zip(certificates) {
        let organisation = certificate.organisation().as_str();
        let key = VersionKey::new(KeyFamily::Organisation).text(organisation);
        conn.execute(head, vec![key.as_bytes().into(), (-at).into()]).await.unwrap();
        let row = "INSERT INTO organisations VALUES ($1, 0, $2, $3, 1, 'Some place', 1, NULL, NULL, NULL)";
        conn.execute(row, vec![(-at).into(), key.as_bytes().into(), organisation.into()]).await.unwrap();
        let key = VersionKey::new(KeyFamily::Certificate).bytes(&certificate.fingerprint());
        conn.execute(head, vec![key.as_bytes().into(), (-at).into()]).await.unwrap();
        let row = "INSERT INTO certificates VALUES ($1, 0, $2, $3, 1, $4, 'mis', 9000000000000000, 1)";
        let sha256 = certificate.fingerprint();
        let values = vec![(-at).into(), key.as_bytes().into(), sha256.into(), organisation.into()];
        conn.execute(row, values).await.unwrap();
    }
    let key = VersionKey::new(KeyFamily::Agreement).id(AGREEMENT);
    conn.execute(head, vec![key.as_bytes().into(), (-99_i64).into()]).await.unwrap();
    let row = "INSERT INTO agreements VALUES (-99, 0, $1, 1, $2, $3, $3, '1,2,3', '1', 4, 4, '6', \
               '2026-09-01', '2027-08-31', '2027-08-31', '')";
    let parties = "la/330,provider/riverside,school/123456,school/123457";
    let state = AgreementState::InForce as i32;
    let values = vec![AGREEMENT.into(), state.into(), parties.into()];
    conn.execute(row, values).await.unwrap();
}

impl TestGateway {
    pub async fn refer(&self, upn: &str) -> CreateReferralResponse {
        self.call(LA, methods::CREATE_REFERRAL, &a_referral(a_child(upn))).await.unwrap()
    }

    pub async fn get(&self, who: &str, placement: &str) -> GetPlacementResponse {
        let request = GetPlacementRequest { placement_id: placement.to_owned() };
        self.call(who, methods::GET_PLACEMENT, &request).await.unwrap()
    }

    pub async fn forename_or_refusal(&self, who: &str, placement: &str) -> String {
        let request = GetPlacementRequest { placement_id: placement.to_owned() };
        match self.call(who, methods::GET_PLACEMENT, &request).await {
            Ok(response) => response.placement.unwrap().child.unwrap().legal_forename,
            Err(_) => self.refusal_reason(who, methods::GET_PLACEMENT, &request).await,
        }
    }

    pub async fn list(&self, who: &str, query: ListPlacementsRequest) -> (Vec<String>, String) {
        let page = self.call(who, methods::LIST_PLACEMENTS, &query).await.unwrap();
        assert!(
            page.placements.iter().all(|placement| placement.child.is_none() && placement.detail.is_none())
        );
        let ids = page.placements.into_iter().map(|placement| placement.placement_id).collect();
        (ids, page.next_page_token)
    }
}
