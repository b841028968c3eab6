//! A certificate authority for tests and examples. Real ones keep their key in a safer place than a process.

use std::{fs, io, path::Path};

use chrono::{Datelike, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use websockets_simple_client::{TlsIdentity, Token};

/// A certificate authority whose key exists only in this value.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    chain: String,
    key: Token,
}

impl Authority {
    /// Creates an authority with this name, valid until the end of next year.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be made.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = valid(Vec::new(), name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these host names or addresses; the first is also its common name.
    ///
    /// # Errors
    ///
    /// When a name is invalid, or the certificate cannot be made.
    pub fn issue(&self, names: &[&str], serial: u64) -> Result<Issued, rcgen::Error> {
        let all = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = valid(all, names.first().copied().unwrap_or_default())?;
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain: certificate.pem(), key: Token::new(key.serialize_pem()) })
    }

    /// A revocation list with these serial numbers, as PEM.
    ///
    /// # Errors
    ///
    /// When the list cannot be signed.
    pub fn revocation_list(&self, serials: &[u64]) -> Result<String, rcgen::Error> {
        let (today, later) =
            (date_time_ymd(Utc::now().year(), 1, 1), date_time_ymd(Utc::now().year() + 1, 12, 31));
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: today,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: today,
            next_update: later,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer)?.pem()
    }
}

impl Issued {
    /// The certificate and key as a TLS identity.
    #[must_use]
    pub fn identity(&self) -> TlsIdentity {
        TlsIdentity::pem(self.chain.as_str(), self.key.expose())
    }

    /// Writes `NAME.pem` and `NAME-key.pem`; on Unix only the owner can read the key.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        fs::write(folder.join(format!("{name}.pem")), &self.chain)?;
        write_secret(&folder.join(format!("{name}-key.pem")), self.key.expose())
    }
}

fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    use std::io::Write;

    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(secret.as_bytes())
}

/// Certificate parameters, valid from the beginning of this year to the end of the next.
fn valid(names: Vec<String>, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(Utc::now().year(), 1, 1);
    params.not_after = date_time_ymd(Utc::now().year() + 1, 12, 31);
    Ok(params)
}
