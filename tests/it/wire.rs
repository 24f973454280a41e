//! A low-level gRPC client for tests: it sends any bytes with any certificate and returns the complete response.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ap_gateway::cli::sandbox;
use ap_gateway::client::ProfileFile;
use ap_gateway::proto::v1::Receipt;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost::bytes::{BufMut, Bytes, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt;

/// An HTTP/2 connection over mTLS.
#[derive(Clone)]
pub struct Wire(SendRequest<Body>);

/// The response to a call.
pub struct Answer {
    /// The HTTP status.
    pub http: u16,
    /// Headers and trailers.
    pub headers: HeaderMap,
    /// The last message, without its gRPC prefix.
    pub message: Bytes,
    /// All messages; a streaming method may return several.
    pub messages: Vec<Bytes>,
}

/// Returns the address of the sandbox in a folder, from its profiles.
pub fn address(dir: &Path) -> SocketAddr {
    let profile = std::fs::read_to_string(sandbox::profile_path(dir, "operator")).unwrap();
    let profile: ProfileFile = toml::from_str(&profile).unwrap();
    profile.endpoint.parse().unwrap()
}

/// Builds a client's TLS configuration from a trusted CA and an optional client certificate.
pub fn tls(ca: &Path, identity: Option<(&Path, &Path)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

impl Wire {
    /// Connects with a TLS configuration.
    pub async fn open(address: SocketAddr, config: ClientConfig) -> Result<Self, String> {
        let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        Box::pin(Self::over(stream.map_err(|error| error.to_string())?)).await
    }

    /// Begins HTTP/2 on an open TLS connection.
    pub async fn over(stream: TlsStream<TcpStream>) -> Result<Self, String> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error_text(&error))?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Connects with a certificate in a sandbox's folder to the address in its profiles.
    pub async fn try_connect(dir: &Path, name: &str) -> Result<Self, String> {
        let [certificate, key] = ["pem", "key"].map(|kind| dir.join(format!("certs/{name}.{kind}")));
        Self::open(address(dir), tls(&dir.join("ca.pem"), Some((&certificate, &key)))).await
    }

    /// Connects as [`Self::try_connect`] does and panics when the connection fails.
    pub async fn connect(dir: &Path, name: &str) -> Self {
        Self::try_connect(dir, name).await.unwrap()
    }

    /// Returns whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends one request message and returns the response.
    pub async fn call(&self, path: &str, message: &[u8]) -> Answer {
        self.send(path, &[], frame(message)).await.unwrap()
    }

    /// Sends any body with further metadata. Returns an error when the transport fails before a response.
    pub async fn send(&self, path: &str, metadata: &[(&str, &str)], body: Bytes) -> Result<Answer, String> {
        let (parts, body) = self.begin(path, metadata, Body::new(Full::new(body))).await?;
        // A server stream does not end by itself, so only its first message is read unless the caller set a
        // deadline.
        let first = is_watched(path) && metadata.iter().all(|(name, _)| *name != "grpc-timeout");
        read_response(parts, body, first).await
    }

    /// Sends any HTTP request.
    pub async fn send_request(&self, request: http::Request<Body>) -> Result<Answer, String> {
        let (parts, body) = self.request(request).await?;
        read_response(parts, body, false).await
    }

    async fn request(
        &self,
        request: http::Request<Body>,
    ) -> Result<(http::response::Parts, Incoming), String> {
        let mut sender = self.0.clone();
        sender.ready().await.map_err(|error| error_text(&error))?;
        let response = sender.send_request(request).await.map_err(|error| error_text(&error))?;
        Ok(response.into_parts())
    }

    /// Sends a request and returns the response's headers and its body, which is still being received.
    pub async fn begin(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        body: Body,
    ) -> Result<(http::response::Parts, Incoming), String> {
        let mut request = http::Request::post(format!("https://localhost{path}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap();
        for (name, value) in metadata {
            let name: http::HeaderName = name.parse().unwrap();
            let value = value.parse().unwrap();
            // A second token is sent beside the first one.
            if name == http::header::AUTHORIZATION {
                request.headers_mut().append(name, value);
            } else {
                request.headers_mut().insert(name, value);
            }
        }
        self.request(request).await
    }
}

/// Reads a response to its end, or only up to its first message.
async fn read_response(
    parts: http::response::Parts,
    mut body: Incoming,
    first: bool,
) -> Result<Answer, String> {
    let (mut headers, mut bytes) = (parts.headers, BytesMut::new());
    while !(first && framed(&bytes).is_some()) {
        let Some(next) = body.frame().await else { break };
        match next.map_err(|error| error.to_string())?.into_data() {
            Ok(data) => bytes.put(data),
            Err(rest) => headers.extend(rest.into_trailers().unwrap()),
        }
    }
    let (mut messages, mut rest) = (Vec::new(), &bytes[..]);
    while let Some(message) = framed(rest) {
        messages.push(Bytes::copy_from_slice(message));
        rest = &rest[5 + message.len()..];
    }
    let message = messages.last().cloned().unwrap_or_default();
    Ok(Answer { http: parts.status.as_u16(), headers, message, messages })
}

impl Answer {
    /// Returns the gRPC status; OK for a stream that has begun and not ended.
    pub fn status(&self) -> Status {
        Status::from_header_map(&self.headers).unwrap_or_else(|| Status::ok(""))
    }

    /// Returns the reason of a refusal with its field violations, or `OK`.
    pub fn reason(&self) -> String {
        let (status, details) = (self.status(), self.status().get_error_details());
        let Some(info) = details.error_info() else { return format!("{:?}", status.code()).to_uppercase() };
        let faults = details.bad_request().map_or(&[][..], |request| &request.field_violations);
        let faults = faults.iter().map(|fault| format!(" {}: {};", fault.field, fault.description));
        faults.fold(info.reason.clone(), |text, fault| text + &fault)
    }

    /// Returns the exchange id in the metadata of a refusal.
    pub fn exchange(&self) -> String {
        let details = self.status().get_error_details();
        details.error_info().map(|info| info.metadata["exchange_id"].clone()).unwrap_or_default()
    }

    /// Returns the complete response without what differs between equal calls: exchange id and date.
    pub fn masked(&self) -> Vec<(String, Vec<u8>)> {
        let exchange = self.exchange();
        let http = ("http".to_owned(), self.http.to_be_bytes().to_vec());
        let mut all = vec![(String::new(), self.message.to_vec()), http];
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != "date") {
            let value = match name.as_str() {
                "grpc-status-details-bin" => {
                    let details = self.status().details().to_vec();
                    let text = String::from_utf8_lossy(&details).into_owned();
                    assert!(text.contains(&exchange) && !exchange.is_empty());
                    text.replace(&exchange, "-").into_bytes()
                }
                _ => value.as_bytes().to_vec(),
            };
            all.push((format!("{name} of {} bytes", value.len()), value));
        }
        all.sort();
        all
    }
}

/// Returns the receipt of a reply.
pub fn receipt(answer: &Answer) -> Receipt {
    receipt_of(&answer.message).unwrap()
}

/// Returns the receipt of a message; `None` for messages without a log entry, such as heartbeats.
pub fn receipt_of(message: &Bytes) -> Option<Receipt> {
    WithReceipt::decode(message.clone()).unwrap().receipt
}

/// The receipt field, which all replies with a log entry share.
#[derive(Clone, PartialEq, Message)]
struct WithReceipt {
    #[prost(message, optional, tag = "15")]
    receipt: Option<Receipt>,
}

/// Encodes an uncompressed message with its gRPC prefix.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put(message);
    framed.freeze()
}

/// Returns the first message if it is complete.
pub fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().unwrap());
    bytes.get(5..5 + usize::try_from(length).unwrap())
}

fn error_text(error: &hyper::Error) -> String {
    format!("{error:?}")
}

/// Returns whether a method is a server stream without client streaming.
fn is_watched(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    let method = ap_gateway::proto::methods().find(|method| method.name() == name);
    method.is_some_and(|method| method.is_server_streaming() && !method.is_client_streaming())
}
