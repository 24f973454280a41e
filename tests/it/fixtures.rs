//! A sandbox that holds one object of every kind. It is created by sending the requests of `example_requests.rs` as the callers
//! that may send them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::clock::{Clock, Instant, Randomness, SystemClock};
use ap_gateway::exchange::Method;
use ap_gateway::identity::pki::{SandboxAuthority, Validity};
use ap_gateway::store::Database;
use ap_gateway::{gateway, proto};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, ReflectMessage, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::Code;

use super::example_requests::{EXAMPLE_REQUESTS, ExampleRequest};
use super::support::NOW;
use super::tokens;
use super::wire::{Answer, Wire, frame};

/// The UPN of the child in the fixtures.
pub const UPN: &str = "B801200005001";
/// The states of a placement, each with the method that moves it to the next one.
const PLACEMENT_STATES: [(&str, &str); 4] = [
    ("referred", "RespondToReferral"),
    ("accepted", "DecidePlacement"),
    ("approved", "StartPlacement"),
    ("active", "EndPlacement"),
];

/// A sandbox and the ids of its objects, by name.
pub struct Fixtures {
    /// The sandbox's folder.
    pub dir: PathBuf,
    /// The values that replace `$name` in example requests.
    pub names: BTreeMap<String, String>,
    connections: BTreeMap<String, Wire>,
    random: Randomness,
    /// The text for a personal field of every request, by the field's name; `None` leaves the example's own text.
    pub personal_text: fn(&str) -> Option<String>,
    /// The database in which no moment may be due before the next call.
    settled: Option<Database>,
}

impl Fixtures {
    /// Creates the fixtures in the sandbox that `dir` serves.
    pub async fn create(dir: &Path, random: Randomness) -> Self {
        Self::create_with_personal_text(dir, random, |_| None).await
    }

    /// Creates the fixtures; `personal_text` supplies the text of personal fields.
    pub async fn create_with_personal_text(
        dir: &Path,
        random: Randomness,
        personal: fn(&str) -> Option<String>,
    ) -> Self {
        Self::make(dir, random, personal, None).await
    }

    /// Creates fixtures that wait, at first and after each call, until what is due was evaluated, so that the log has one
    /// order.
    pub async fn create_settled(dir: &Path, random: Randomness, database: Database) -> Self {
        wait_until_evaluated(&database, NOW.parse().unwrap()).await;
        Self::make(dir, random, |_| None, Some(database)).await
    }

    async fn make(
        dir: &Path,
        random: Randomness,
        personal: fn(&str) -> Option<String>,
        settled: Option<Database>,
    ) -> Self {
        let (names, wires) = (BTreeMap::new(), BTreeMap::new());
        let mut stage =
            Self { dir: dir.to_owned(), names, connections: wires, random, personal_text: personal, settled };
        let made = sandbox::world::load(dir).unwrap();
        let mut agreed = made.agreements.iter();
        let agreed = agreed.find(|it| (&*it.commissioner, &*it.provider) == ("la-a", "provider-a")).unwrap();
        let old = made.organisations.iter().find(|member| member.name == "provider-a-old").unwrap();
        // The placement of the sandbox whose child has a passport.
        let mut placed = made.placements.iter();
        let carried = placed.find(|it| it.commissioner == "la-a" && it.provider == "provider-a").unwrap();
        for (name, value) in [
            ("agreement", agreed.agreement_id.clone()),
            ("old", old.certificate_sha256.clone()),
            ("newcomer", ensure_certificate(dir, "newcomer", "partner/newcomer/hub")),
            ("reserved", ensure_certificate(dir, "reserved", "partner/newcomer/gateway")),
            ("second", ensure_certificate(dir, "second", "provider/riverside/second-register")),
            ("carried", carried.placement_id.clone()),
            ("carried.etag", carried.etag.clone()),
            ("upn", UPN.to_owned()),
            ("today", NOW[..10].to_owned()),
        ] {
            stage.names.insert(name.to_owned(), value);
        }
        let alerts = serde_json::to_value(stage.call_ok("ListAlerts").await).unwrap();
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        let alert = alerts.find(|alert| alert["provider"] == "provider/riverside").unwrap();
        stage.names.insert("alert".to_owned(), alert["alertId"].as_str().unwrap().to_owned());
        // A person of these fixtures alone, because one of the examples ends it.
        let subject = stage.random.uuid_v4().hyphenated().to_string();
        let practitioner = tokens::sign_in(dir, "provider-a", |claims| claims["sub"] = subject.into()).await;
        stage.names.insert("practitioner".to_owned(), practitioner);
        for reached in (0..=PLACEMENT_STATES.len()).rev() {
            stage.create_placement(reached).await;
        }
        let mut opening = parse_request("StreamAttendance", "{}");
        stage.set_request_id(&mut opening);
        let opened = stage.call("provider-a", "StreamAttendance", &opening).await.message;
        let opened = DynamicMessage::decode(method_descriptor("StreamAttendance").output(), opened).unwrap();
        stage.names.insert("streamed".to_owned(), text_field(&opened, "return_id"));
        for (name, method, field) in [
            ("ending", "ProposeAgreement", "agreement_id"),
            ("grant", "AuthoriseProcessor", "grant_id"),
            ("proposed", "ProposeAgreement", "agreement_id"),
            ("closure", "DeclareClosure", "closure_id"),
            ("return", "SubmitAttendance", "return_id"),
        ] {
            let reply = stage.call_ok(method).await;
            let receipt = reply.get_field_by_name("receipt").unwrap().as_message().unwrap().clone();
            stage.names.insert(name.to_owned(), text_field(&reply, field));
            if name == "proposed" {
                stage.names.insert("proposed.terms".to_owned(), text_field(&reply, "terms_sha256"));
            }
            stage.names.insert("exchange".to_owned(), text_field(&receipt, "exchange_id"));
            for (name, field) in [("mail", "index"), ("size", "tree_size")] {
                let number = receipt.get_field_by_name(field).unwrap().as_u64().unwrap();
                stage.names.insert(name.to_owned(), number.to_string());
            }
        }
        stage
    }

    /// Names objects that were created before, in a sandbox that serves a folder again.
    pub fn resume(dir: &Path, names: BTreeMap<String, String>, random: Randomness) -> Self {
        let connections = BTreeMap::new();
        Self { dir: dir.to_owned(), names, connections, random, personal_text: |_| None, settled: None }
    }

    /// Creates a placement and moves it on by `reached` states.
    pub async fn create_placement(&mut self, reached: usize) {
        let referral = self.call_ok("CreateReferral").await;
        let (id, mut etag) = (text_field(&referral, "placement_id"), text_field(&referral, "etag"));
        self.names.insert("child".to_owned(), text_field(&referral, "child_id"));
        for (at, (name, method)) in
            PLACEMENT_STATES.into_iter().chain([("ended", "")]).enumerate().take(reached + 1)
        {
            self.names.insert(name.to_owned(), id.clone());
            self.names.insert(format!("{name}.etag"), etag.clone());
            self.names.insert("reference".to_owned(), format!("WREN-{}", &id[..8]));
            if at < reached {
                etag = text_field(&self.call_ok(method).await, "etag");
            }
        }
        self.names.insert("reference".to_owned(), "WREN-1".to_owned());
    }

    /// Sends a method's example request as its caller and returns the reply, which must be OK.
    pub async fn call_ok(&mut self, method: &str) -> DynamicMessage {
        let row = find_example(method)
            .unwrap_or_else(|| panic!("{method} has no example in tests/it/example_requests.rs"));
        let request = self.request(row, false);
        let answer = self.call(row.caller, method, &request).await;
        assert_eq!(answer.status().code(), Code::Ok, "{method}: {}", answer.reason());
        DynamicMessage::decode(method_descriptor(method).output(), answer.message).unwrap()
    }

    /// Builds a method's request from its example; for a stream, the first message.
    pub fn request(&self, row: &ExampleRequest, validate_only: bool) -> DynamicMessage {
        self.request_messages(row, validate_only).remove(0)
    }

    /// Builds all messages of a method's example.
    fn request_messages(&self, row: &ExampleRequest, validate_only: bool) -> Vec<DynamicMessage> {
        let mut messages = parse_requests(row.method, &self.substitute_names(row.json));
        let mut part = Context::new(&SHA256);
        for (at, message) in messages.iter_mut().enumerate() {
            // The commit of a part holds the digest of the part's messages, without the opening.
            if message.has_field_by_name("commit") {
                let sha256 = Value::Bytes(Bytes::copy_from_slice(part.clone().finish().as_ref()));
                let mut commit = message.get_field_by_name("commit").unwrap().as_message().unwrap().clone();
                commit.set_field_by_name("sha256", sha256);
                message.set_field_by_name("commit", Value::Message(commit));
                continue;
            }
            replace_personal_text(message, self.personal_text);
            if row.method == "GetPassport" {
                // The example is no emergency, which needs a person.
                message.clear_field_by_name("emergency_reason");
            }
            if row.method == "EndPlacement" {
                // The examples end an active placement, so there is no end to correct.
                message.clear_field_by_name("correction_reason");
            }
            if proto::is_mutating(&method_descriptor(row.method)) {
                self.set_request_id(message);
                message.set_field_by_name("validate_only", Value::Bool(validate_only));
            }
            if at > 0 {
                part.update(&message.encode_to_vec());
            }
        }
        messages
    }

    /// Returns the body of a call: the request and, for a client stream, the further messages of the example.
    pub fn request_body(&self, method: &str, request: &DynamicMessage) -> Bytes {
        let mut body = BytesMut::from(&frame(&request.encode_to_vec())[..]);
        if method_descriptor(method).is_client_streaming() {
            let only =
                request.get_field_by_name("validate_only").is_some_and(|it| it.as_bool() == Some(true));
            for message in self.request_messages(find_example(method).unwrap(), only).iter().skip(1) {
                body.extend(frame(&message.encode_to_vec()));
            }
        }
        body.freeze()
    }

    /// Replaces each `$name` in JSON by its value.
    pub fn substitute_names(&self, json: &str) -> String {
        // Longer names come first, because a name may be a prefix of another.
        let names = self.names.iter().rev();
        names.fold(json.to_owned(), |json, (name, value)| {
            json.replace(&format!("${name}\""), &format!("{value}\""))
        })
    }

    /// Sets a new `request_id`.
    pub fn set_request_id(&self, request: &mut DynamicMessage) {
        let id = self.random.uuid_v4().hyphenated().to_string();
        request.set_field_by_name("request_id", Value::String(id));
    }

    /// Sends a request as one of the sandbox's callers and returns the response.
    pub async fn call(&mut self, caller: &str, method: &str, request: &DynamicMessage) -> Answer {
        let body = self.request_body(method, request);
        let path = method_path(&method_descriptor(method));
        let answer = self.connection(caller).await.send(&path, &[], body).await.unwrap();
        if let Some(database) = &self.settled {
            wait_until_evaluated(database, NOW.parse().unwrap()).await;
        }
        answer
    }

    /// Closes every connection; the next call connects to the address in the folder's profiles.
    pub fn close_connections(&mut self) {
        self.connections.clear();
    }

    /// Returns the connection of one of the sandbox's callers, which is opened on first use.
    pub async fn connection(&mut self, caller: &str) -> Wire {
        if !self.connections.contains_key(caller) {
            self.connections.insert(caller.to_owned(), Wire::connect(&self.dir, caller).await);
        }
        self.connections[caller].clone()
    }
}

/// Replaces the personal texts of a message, in fields that are set and in plain text fields that are not.
fn replace_personal_text(message: &mut DynamicMessage, personal: fn(&str) -> Option<String>) {
    for field in message.descriptor().fields() {
        let text = personal(field.name()).filter(|_| proto::is_personal(&field)).map(Value::String);
        match (field.kind(), text) {
            (Kind::String, Some(text)) if field.is_list() => {
                message.get_field_mut(&field).as_list_mut().unwrap().fill(text);
            }
            // A member of a oneof is not set, because that would change the choice of the example.
            (Kind::String, Some(text)) if field.containing_oneof().is_none() => {
                message.set_field(&field, text);
            }
            (Kind::Message(_), _) if message.has_field(&field) => match message.get_field_mut(&field) {
                Value::List(list) => {
                    for one in list {
                        replace_personal_text(one.as_message_mut().unwrap(), personal);
                    }
                }
                one => replace_personal_text(one.as_message_mut().unwrap(), personal),
            },
            _ => {}
        }
    }
}

/// Returns a method's example request.
pub fn find_example(method: &str) -> Option<&'static ExampleRequest> {
    EXAMPLE_REQUESTS.iter().find(|row| row.method == method)
}

/// Returns every method, sorted by path.
pub fn sorted_methods() -> Vec<&'static Method> {
    let mut methods: Vec<_> = gateway::METHODS.iter().collect();
    methods.sort_unstable_by_key(|method| method.path);
    methods
}

/// Returns the descriptor of a method, by its name without package and service.
pub fn method_descriptor(method: &str) -> MethodDescriptor {
    proto::methods().find(|found| found.name() == method).unwrap()
}

/// Returns the path of a method, `/package.Service/Method`.
pub fn method_path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Parses a method's request from protobuf JSON.
pub fn parse_request(method: &str, json: &str) -> DynamicMessage {
    parse_requests(method, json).remove(0)
}

/// Parses the concatenated requests of a method from protobuf JSON.
fn parse_requests(method: &str, json: &str) -> Vec<DynamicMessage> {
    let all = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>();
    all.map(|one| {
        let read = one.and_then(|one| DynamicMessage::deserialize(method_descriptor(method).input(), one));
        read.unwrap_or_else(|error| panic!("the example of {method}: {error}"))
    })
    .collect()
}

/// Returns a text field of a reply.
pub fn text_field(reply: &DynamicMessage, field: &str) -> String {
    reply.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
}

/// Issues a certificate from the sandbox's CA unless the folder has it, and returns its DER in base64.
pub fn ensure_certificate(dir: &Path, name: &str, system: &str) -> String {
    let file = dir.join(format!("certs/{name}.pem"));
    if !file.exists() {
        issue_certificate(dir, name, system, serial_number(name), current_validity());
    }
    STANDARD.encode(CertificateDer::from_pem_file(file).unwrap())
}

/// Issues a certificate with a serial number and a validity period, and writes it and its key.
pub fn issue_certificate(dir: &Path, name: &str, system: &str, serial: u64, validity: Validity) {
    let uri = format!("spiffe://sandbox.ap.example/{system}");
    let issued = load_authority(dir).issue_client(&[&uri], serial, validity).unwrap();
    let folder = dir.join("certs");
    std::fs::write(folder.join(format!("{name}.pem")), issued.certificate_pem).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), issued.key_pem).unwrap();
}

/// Loads the sandbox's CA.
pub fn load_authority(dir: &Path) -> SandboxAuthority {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    SandboxAuthority::from_pem(&read("ca.pem"), &read("ca.key"), current_validity()).unwrap()
}

/// Returns a validity period from a day ago to a day ahead.
pub fn current_validity() -> Validity {
    let now = SystemClock.now().seconds();
    Validity { from: now - 86_400, to: now + 86_400 }
}

/// Derives a serial number from a name.
fn serial_number(name: &str) -> u64 {
    name.bytes().fold(1_000, |serial, byte| serial * 31 % 1_000_003 + u64::from(byte))
}

/// Waits until no moment is due by an instant.
pub async fn wait_until_evaluated(database: &Database, now: Instant) {
    let sql = "SELECT COUNT(*) AS due FROM moments m JOIN current_versions v ON v.key = m.version_key AND v.idx = m.idx \
               AND v.ordinal = m.ordinal WHERE m.due <= $1";
    for round in 0.. {
        let row = database
            .reader()
            .await
            .unwrap()
            .fetch_one(sql, vec![now.micros().into()])
            .await
            .unwrap()
            .unwrap();
        if row.get::<i64>("due").unwrap() == 0 {
            break;
        }
        assert!(round < 1_000, "a moment was not evaluated");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
