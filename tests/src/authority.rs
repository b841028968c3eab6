//! Certificates for tests: an authority and what it issues.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use websockets_simple_client::{ClientParams, TlsIdentity};
use websockets_simple_server::{Endpoint, ServerParams, ServerTls};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
}

impl Issued {
    /// As an identity.
    #[must_use]
    pub fn identity(&self) -> TlsIdentity {
        TlsIdentity::pem(self.chain.as_str(), self.key.as_str())
    }
}

#[expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(authority_named(&key), key).unwrap() }
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, with whatever is changed in it.
    #[must_use]
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// Another authority, which this one vouches for.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(authority_named(&key), key, &self.issuer).unwrap();
        Self { issuer }
    }

    /// A certificate of a client called that, with a serial number of its own.
    #[must_use]
    pub fn client(&self, name: &str, serial: u64) -> Issued {
        self.issue(&[name], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.serial_number = Some(SerialNumber::from(serial));
        })
    }

    /// A list of revoked serial numbers.
    #[must_use]
    pub fn revocation_list(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// What a server on this machine speaks TLS with.
    #[must_use]
    pub fn server(&self) -> ServerTls {
        ServerTls::new(self.issue(&["localhost"], |_| ()).identity())
    }

    /// Makes a client trust this authority and no other.
    #[must_use]
    pub fn trusted(&self, port: u16) -> ClientParams {
        ClientParams::new("localhost", port).secured(true).root_pem(self.pem()).only_given_roots()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// An authority that is named after its key: two of the same name would be told apart by their signatures only.
#[expect(clippy::unwrap_used, reason = "for tests")]
fn authority_named(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let number = u32::from_be_bytes(key.public_key_raw()[1..5].try_into().unwrap());
    params.distinguished_name.push(DnType::CommonName, format!("an authority for tests, {number}"));
    params
}

/// Parameters of a server on a free port of this machine that speaks TLS.
#[must_use]
pub fn secured(tls: ServerTls) -> ServerParams {
    ServerParams::local().endpoint(Endpoint::tcp(([127, 0, 0, 1], 0).into()).tls(tls))
}
