//! From PEM to certificates, keys and revocation lists.

use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::tls::error::TlsError;

/// What a PEM text holds.
#[derive(Default)]
struct Contents {
    certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

/// The one place that knows which crate reads PEM.
fn read(pem: &[u8], what: &'static str) -> Result<Contents, TlsError> {
    use rustls_pemfile::Item;

    let mut contents = Contents::default();
    for item in rustls_pemfile::read_all(&mut &*pem) {
        match item.map_err(|_| TlsError::MalformedPem(what))? {
            Item::X509Certificate(certificate) => contents.certificates.push(certificate),
            Item::Pkcs1Key(key) => contents.keys.push(key.into()),
            Item::Pkcs8Key(key) => contents.keys.push(key.into()),
            Item::Sec1Key(key) => contents.keys.push(key.into()),
            Item::Crl(list) => contents.lists.push(list),
            _ => {}
        }
    }
    Ok(contents)
}

/// All certificates of a PEM text, at least one.
///
/// # Errors
///
/// [`TlsError::MalformedPem`], or [`TlsError::Missing`] where there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = read(pem, "certificate")?.certificates;
    if certificates.is_empty() { Err(TlsError::Missing("certificate in the PEM")) } else { Ok(certificates) }
}

/// All revocation lists of a PEM text, at least one.
///
/// # Errors
///
/// [`TlsError::MalformedPem`], or [`TlsError::Missing`] where there is none.
pub fn revocation_lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists = read(pem, "revocation list")?.lists;
    if lists.is_empty() { Err(TlsError::Missing("revocation list in the PEM")) } else { Ok(lists) }
}

/// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC 1, not encrypted.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let keys = read(pem, "private key")?.keys;
    keys.into_iter().next().ok_or(TlsError::Missing("unencrypted private key in the PEM"))
}
