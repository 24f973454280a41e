//! A small certificate authority for the sandbox and the tests. It is never used to serve real callers.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};

/// The error of a certificate or revocation list that could not be issued.
#[derive(Debug, thiserror::Error)]
#[error("the certificate could not be issued")]
pub struct PkiError(#[from] rcgen::Error);

/// The validity of a certificate, in seconds since 1970 UTC.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// First valid second.
    pub from: i64,
    /// Last valid second.
    pub to: i64,
}

/// An issued certificate with its private key.
#[derive(Clone)]
pub struct IssuedCertificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The private key, PEM, PKCS#8.
    pub key_pem: String,
}

/// A certificate authority.
pub struct SandboxAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    validity: Validity,
}

impl SandboxAuthority {
    /// Creates a root authority with a new key.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn new(name: &str, validity: Validity) -> Result<Self, PkiError> {
        let (params, key) = (authority_params(name, validity, 1, 1), KeyPair::generate()?);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem: certificate, validity })
    }

    /// Issues the certificate of a new intermediate authority and returns that authority.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_intermediate(&self, name: &str, serial: u64) -> Result<Self, PkiError> {
        let (params, key) = (authority_params(name, self.validity, serial, 0), KeyPair::generate()?);
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem: certificate, validity: self.validity })
    }

    /// Loads an authority from its certificate and key, both PEM.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn from_pem(certificate: &str, key: &str, validity: Validity) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { issuer, certificate_pem: certificate.to_owned(), validity })
    }

    /// Returns the authority's certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Creates a P-256 key and returns it, PKCS#8 in PEM.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn new_key() -> Result<String, PkiError> {
        Ok(KeyPair::generate()?.serialize_pem())
    }

    /// Returns the authority's private key, PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a server certificate for localhost and 127.0.0.1.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_server(&self, serial: u64) -> Result<IssuedCertificate, PkiError> {
        let local = SanType::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]));
        self.issue_server_for(vec![SanType::DnsName("localhost".try_into()?), local], serial, self.validity)
    }

    /// Issues a server certificate that the gateway refuses to load: without a host name, or not valid now.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_invalid_server(
        &self,
        host: Option<&str>,
        serial: u64,
        validity: Validity,
    ) -> Result<IssuedCertificate, PkiError> {
        let host = host.map(|host| Ok::<_, rcgen::Error>(SanType::DnsName(host.try_into()?))).transpose()?;
        self.issue_server_for(host.into_iter().collect(), serial, validity)
    }

    fn issue_server_for(
        &self,
        names: Vec<SanType>,
        serial: u64,
        validity: Validity,
    ) -> Result<IssuedCertificate, PkiError> {
        let mut params = base_params("ap-gateway", validity, serial);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// Issues a client certificate with these URI subject alternative names; the gateway accepts exactly one.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_client(
        &self,
        uris: &[&str],
        serial: u64,
        validity: Validity,
    ) -> Result<IssuedCertificate, PkiError> {
        let mut params = base_params("ap-gateway client", validity, serial);
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// Issues a client certificate whose extended key usage is serverAuth, which the gateway refuses.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_client_with_server_usage(
        &self,
        uri: &str,
        serial: u64,
    ) -> Result<IssuedCertificate, PkiError> {
        let mut params = base_params("ap-gateway client", self.validity, serial);
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// Issues a revocation list of these serial numbers, PEM.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_crl(&self, revoked: &[u64], number: u64, validity: Validity) -> Result<String, PkiError> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: to_offset_date_time(validity.from),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: to_offset_date_time(validity.from),
            next_update: to_offset_date_time(validity.to),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    fn issue(&self, params: &CertificateParams) -> Result<IssuedCertificate, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedCertificate {
            certificate_pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Returns the parameters of an authority's certificate whose path length constraint is `below`.
fn authority_params(name: &str, validity: Validity, serial: u64, below: u8) -> CertificateParams {
    let mut params = base_params(name, validity, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn base_params(name: &str, validity: Validity, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = to_offset_date_time(validity.from);
    params.not_after = to_offset_date_time(validity.to);
    params.use_authority_key_identifier_extension = true;
    params
}

fn to_offset_date_time(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}
