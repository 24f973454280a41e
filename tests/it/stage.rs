//! A sandbox with one thing of every kind in it, made by playing the rows of `rows.rs` as those who may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ap_gateway::cli::sandbox;
use ap_gateway::clock::{Clock, Randomness, SystemClock};
use ap_gateway::identity::pki::{Authority, Validity};
use ap_gateway::proto;
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, ReflectMessage, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::Code;

use super::rows::{ROWS, Row};
use super::support::NOW;
use super::wire::{Answer, Wire, frame};

/// The pupil number of the stage's child.
pub const UPN: &str = "B801200005001";
/// The stages that a placement goes through, each with the row that takes it to the next.
const STAGES: [(&str, &str); 4] = [
    ("referred", "RespondToReferral"),
    ("accepted", "DecidePlacement"),
    ("approved", "StartPlacement"),
    ("active", "EndPlacement"),
];

/// The sandbox with its things by name.
pub struct Stage {
    /// The sandbox's folder.
    pub dir: PathBuf,
    /// What `$name` stands for.
    pub names: BTreeMap<String, String>,
    wires: BTreeMap<String, Wire>,
    random: Randomness,
    /// What is written into a personal field of every request; none leaves it as its row says.
    pub personal: fn(&str) -> Option<String>,
}

impl Stage {
    /// Sets the stage.
    pub async fn set(dir: &Path, random: Randomness) -> Self {
        Self::with(dir, random, |_| None).await
    }

    /// Sets the stage with what is personal written by a function of the field's name.
    pub async fn with(dir: &Path, random: Randomness, personal: fn(&str) -> Option<String>) -> Self {
        let (names, wires) = (BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { dir: dir.to_owned(), names, wires, random, personal };
        let made = sandbox::world::load(dir).unwrap();
        let mut agreed = made.agreements.iter();
        let agreed = agreed.find(|it| (&*it.commissioner, &*it.provider) == ("la-a", "provider-a")).unwrap();
        let old = made.organisations.iter().find(|member| member.name == "provider-a-old").unwrap();
        // The sandbox's own child with a passport.
        let mut placed = made.placements.iter();
        let carried = placed.find(|it| it.commissioner == "la-a" && it.provider == "provider-a").unwrap();
        for (name, value) in [
            ("agreement", agreed.agreement_id.clone()),
            ("old", old.certificate_sha256.clone()),
            ("newcomer", certificate(dir, "newcomer", "partner/newcomer/hub")),
            ("reserved", certificate(dir, "reserved", "partner/newcomer/gateway")),
            ("second", certificate(dir, "second", "provider/riverside/second-register")),
            ("carried", carried.placement_id.clone()),
            ("carried.etag", carried.etag.clone()),
            ("upn", UPN.to_owned()),
            ("today", NOW[..10].to_owned()),
        ] {
            stage.names.insert(name.to_owned(), value);
        }
        let alerts = serde_json::to_value(stage.play("ListAlerts").await).unwrap();
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        let alert = alerts.find(|alert| alert["provider"] == "provider/riverside").unwrap();
        stage.names.insert("alert".to_owned(), alert["alertId"].as_str().unwrap().to_owned());
        for reached in (0..=STAGES.len()).rev() {
            stage.place(reached).await;
        }
        let mut opening = read("StreamAttendance", "{}");
        stage.renew(&mut opening);
        let opened = stage.call("provider-a", "StreamAttendance", &opening).await.message;
        let opened = DynamicMessage::decode(descriptor("StreamAttendance").output(), opened).unwrap();
        stage.names.insert("streamed".to_owned(), text(&opened, "return_id"));
        for (name, method, field) in [
            ("ending", "ProposeAgreement", "agreement_id"),
            ("grant", "AuthoriseProcessor", "grant_id"),
            ("proposed", "ProposeAgreement", "agreement_id"),
            ("closure", "DeclareClosure", "closure_id"),
            ("return", "SubmitAttendance", "return_id"),
        ] {
            let reply = stage.play(method).await;
            let receipt = reply.get_field_by_name("receipt").unwrap().as_message().unwrap().clone();
            stage.names.insert(name.to_owned(), text(&reply, field));
            stage.names.insert("exchange".to_owned(), text(&receipt, "exchange_id"));
            for (name, field) in [("mail", "index"), ("size", "tree_size")] {
                let number = receipt.get_field_by_name(field).unwrap().as_u64().unwrap();
                stage.names.insert(name.to_owned(), number.to_string());
            }
        }
        stage
    }

    /// Makes a placement and takes it so many stages on.
    pub async fn place(&mut self, reached: usize) {
        let referral = self.play("CreateReferral").await;
        let (id, mut etag) = (text(&referral, "placement_id"), text(&referral, "etag"));
        self.names.insert("child".to_owned(), text(&referral, "child_id"));
        for (at, (name, method)) in STAGES.into_iter().chain([("ended", "")]).enumerate().take(reached + 1) {
            self.names.insert(name.to_owned(), id.clone());
            self.names.insert(format!("{name}.etag"), etag.clone());
            self.names.insert("reference".to_owned(), format!("WREN-{}", &id[..8]));
            if at < reached {
                etag = text(&self.play(method).await, "etag");
            }
        }
        self.names.insert("reference".to_owned(), "WREN-1".to_owned());
    }

    /// Sends a method's row as its caller, and has it done.
    pub async fn play(&mut self, method: &str) -> DynamicMessage {
        let row = row(method).unwrap_or_else(|| panic!("{method} has no row in tests/it/rows.rs"));
        let request = self.request(row, false);
        let answer = self.call(row.caller, method, &request).await;
        assert_eq!(answer.status().code(), Code::Ok, "{method}: {}", answer.told());
        DynamicMessage::decode(descriptor(method).output(), answer.message).unwrap()
    }

    /// A method's row as a message; of a stream the first.
    pub fn request(&self, row: &Row, validate_only: bool) -> DynamicMessage {
        self.messages(row, validate_only).remove(0)
    }

    /// A method's row as the messages that are sent.
    fn messages(&self, row: &Row, validate_only: bool) -> Vec<DynamicMessage> {
        let mut messages = read_all(row.method, &self.named(row.json));
        let mut part = Context::new(&SHA256);
        for (at, message) in messages.iter_mut().enumerate() {
            // The end of a part names nothing but what was before it, behind the opening.
            if message.has_field_by_name("commit") {
                let sha256 = Value::Bytes(Bytes::copy_from_slice(part.clone().finish().as_ref()));
                let mut commit = message.get_field_by_name("commit").unwrap().as_message().unwrap().clone();
                commit.set_field_by_name("sha256", sha256);
                message.set_field_by_name("commit", Value::Message(commit));
                continue;
            }
            disguise(message, self.personal);
            if row.method == "EndPlacement" {
                // The rows end a placement that has not ended: there is no end to correct.
                message.clear_field_by_name("correction_reason");
            }
            if proto::is_mutating(&descriptor(row.method)) {
                self.renew(message);
                message.set_field_by_name("validate_only", Value::Bool(validate_only));
            }
            if at > 0 {
                part.update(&message.encode_to_vec());
            }
        }
        messages
    }

    /// What is sent of a request: it, and behind it what else its row has where the method takes a stream.
    pub fn body(&self, method: &str, request: &DynamicMessage) -> Bytes {
        let mut body = BytesMut::from(&frame(&request.encode_to_vec())[..]);
        if descriptor(method).is_client_streaming() {
            let only =
                request.get_field_by_name("validate_only").is_some_and(|it| it.as_bool() == Some(true));
            for message in self.messages(row(method).unwrap(), only).iter().skip(1) {
                body.extend(frame(&message.encode_to_vec()));
            }
        }
        body.freeze()
    }

    /// JSON with what the names in it stand for.
    pub fn named(&self, json: &str) -> String {
        // The longer names first: one may begin another.
        let names = self.names.iter().rev();
        names.fold(json.to_owned(), |json, (name, value)| {
            json.replace(&format!("${name}\""), &format!("{value}\""))
        })
    }

    /// Gives a request an id of its own.
    pub fn renew(&self, request: &mut DynamicMessage) {
        let id = self.random.uuid_v4().hyphenated().to_string();
        request.set_field_by_name("request_id", Value::String(id));
    }

    /// Sends a message to a method as one of the cast.
    pub async fn call(&mut self, caller: &str, method: &str, request: &DynamicMessage) -> Answer {
        let body = self.body(method, request);
        self.wire(caller).await.send(&path(&descriptor(method)), &[], body).await.unwrap()
    }

    /// Closes every connection: the next call goes to wherever the folder is served then.
    pub fn hang_up(&mut self) {
        self.wires.clear();
    }

    /// A connection of one of the cast.
    pub async fn wire(&mut self, caller: &str) -> Wire {
        if !self.wires.contains_key(caller) {
            self.wires.insert(caller.to_owned(), Wire::of(&self.dir, caller).await);
        }
        self.wires[caller].clone()
    }
}

/// Writes what is personal in a message anew, wherever there is room for it.
fn disguise(message: &mut DynamicMessage, personal: fn(&str) -> Option<String>) {
    for field in message.descriptor().fields() {
        let text = personal(field.name()).filter(|_| proto::is_personal(&field)).map(Value::String);
        match (field.kind(), text) {
            (Kind::String, Some(text)) if field.is_list() => {
                message.get_field_mut(&field).as_list_mut().unwrap().fill(text);
            }
            // One of several stays the one that the row chose.
            (Kind::String, Some(text)) if field.containing_oneof().is_none() => {
                message.set_field(&field, text);
            }
            (Kind::Message(_), _) if message.has_field(&field) => match message.get_field_mut(&field) {
                Value::List(list) => {
                    for one in list {
                        disguise(one.as_message_mut().unwrap(), personal);
                    }
                }
                one => disguise(one.as_message_mut().unwrap(), personal),
            },
            _ => {}
        }
    }
}

/// A method's row.
pub fn row(method: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.method == method)
}

/// A method by its own name.
pub fn descriptor(method: &str) -> MethodDescriptor {
    proto::methods().find(|found| found.name() == method).unwrap()
}

/// `/package.Service/Method`.
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// A method's request from protobuf JSON.
pub fn read(method: &str, json: &str) -> DynamicMessage {
    read_all(method, json).remove(0)
}

/// A method's requests from protobuf JSON, one after the other.
fn read_all(method: &str, json: &str) -> Vec<DynamicMessage> {
    let all = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>();
    all.map(|one| {
        let read = one.and_then(|one| DynamicMessage::deserialize(descriptor(method).input(), one));
        read.unwrap_or_else(|error| panic!("the row of {method}: {error}"))
    })
    .collect()
}

/// A text field of a reply.
pub fn text(reply: &DynamicMessage, field: &str) -> String {
    reply.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
}

/// Makes a certificate of the sandbox's authority, unless the folder has it, and gives its DER in base64.
pub fn certificate(dir: &Path, name: &str, system: &str) -> String {
    let file = dir.join(format!("certs/{name}.pem"));
    if !file.exists() {
        issue(dir, name, system, serial(name), lately());
    }
    STANDARD.encode(CertificateDer::from_pem_file(file).unwrap())
}

/// Makes a certificate with this serial number, valid in this time.
pub fn issue(dir: &Path, name: &str, system: &str, serial: u64, validity: Validity) {
    let uri = format!("spiffe://sandbox.ap.example/{system}");
    let issued = authority(dir).client(&[&uri], serial, validity).unwrap();
    let folder = dir.join("certs");
    std::fs::write(folder.join(format!("{name}.pem")), issued.certificate).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), issued.key).unwrap();
}

/// The sandbox's authority.
pub fn authority(dir: &Path) -> Authority {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    Authority::from_pem(&read("ca.pem"), &read("ca.key"), lately()).unwrap()
}

/// From a day ago to a day ahead.
pub fn lately() -> Validity {
    let now = SystemClock.now().seconds();
    Validity { from: now - 86_400, to: now + 86_400 }
}

/// A serial number of its own for each name.
fn serial(name: &str) -> u64 {
    name.bytes().fold(1_000, |serial, byte| serial * 31 % 1_000_003 + u64::from(byte))
}
