//! A small certificate authority for the sandbox and the tests. Nothing that serves real callers uses it.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate could not be made")]
pub struct PkiError(#[from] rcgen::Error);

/// Seconds since 1970 UTC between which a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// First second.
    pub from: i64,
    /// Last second.
    pub to: i64,
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its DER.
    pub der: Vec<u8>,
    /// Its private key, PKCS#8.
    pub key: String,
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    validity: Validity,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// [`PkiError`]; so for every method.
    pub fn new(name: &str, validity: Validity) -> Result<Self, PkiError> {
        let (params, key) = (authority(name, validity, 1, 1), KeyPair::generate()?);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, validity })
    }

    /// Makes an intermediate authority below this one.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn intermediate(&self, name: &str, serial: u64) -> Result<Self, PkiError> {
        let (params, key) = (authority(name, self.validity, serial, 0), KeyPair::generate()?);
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, validity: self.validity })
    }

    /// An authority from its certificate and key, both PEM.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn from_pem(certificate: &str, key: &str, validity: Validity) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { issuer, certificate: certificate.to_owned(), validity })
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, PEM.
    #[must_use]
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server certificate for localhost and 127.0.0.1.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn server(&self, serial: u64) -> Result<Issued, PkiError> {
        let local = SanType::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]));
        self.server_for(vec![SanType::DnsName("localhost".try_into()?), local], serial, self.validity)
    }

    /// A server certificate that names no host, or is valid at another time: none that a gateway takes.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn bad_server(
        &self,
        host: Option<&str>,
        serial: u64,
        validity: Validity,
    ) -> Result<Issued, PkiError> {
        let host = host.map(|host| Ok::<_, rcgen::Error>(SanType::DnsName(host.try_into()?))).transpose()?;
        self.server_for(host.into_iter().collect(), serial, validity)
    }

    fn server_for(&self, names: Vec<SanType>, serial: u64, validity: Validity) -> Result<Issued, PkiError> {
        let mut params = params("ap-gateway", validity, serial);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// A client certificate with these URI names; ours have exactly one.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn client(&self, uris: &[&str], serial: u64, validity: Validity) -> Result<Issued, PkiError> {
        let mut params = params("ap-gateway client", validity, serial);
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// A client certificate that names nobody it could be used for: a server's usage.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn client_without_usage(&self, uri: &str, serial: u64) -> Result<Issued, PkiError> {
        let mut params = params("ap-gateway client", self.validity, serial);
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// The revocation list with these serial numbers, PEM.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn crl(&self, revoked: &[u64], number: u64, validity: Validity) -> Result<String, PkiError> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: time(validity.from),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: time(validity.from),
            next_update: time(validity.to),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    fn issue(&self, params: &CertificateParams) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            der: certificate.der().to_vec(),
            key: key.serialize_pem(),
        })
    }
}

/// An authority below which there may be so many more.
fn authority(name: &str, validity: Validity, serial: u64, below: u8) -> CertificateParams {
    let mut params = params(name, validity, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(name: &str, validity: Validity, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = time(validity.from);
    params.not_after = time(validity.to);
    params.use_authority_key_identifier_extension = true;
    params
}

fn time(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}
