//! From PKCS#12 (`.pfx`, `.p12`) to a certificate chain and its key.

use std::sync::Arc;

use p12_keystore::{Certificate, Pkcs12Archive, error::Error};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::tls::error::TlsError;

/// Reads an archive (RFC 7292). The chain begins with the certificate that has the id of the key, or the first one
/// where there are no ids; its issuers follow as far as they are there.
pub(super) fn read(
    archive: &[u8],
    password: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let archive = Pkcs12Archive::from_pkcs12(archive, password).map_err(|error| match error {
        // Without a checksum, a wrong password shows as invalid padding.
        Error::MacError(_) | Error::UnpadError => TlsError::WrongPassword,
        error => TlsError::MalformedPkcs12(Arc::new(error)),
    })?;
    let key = archive.keys.first().ok_or(TlsError::Missing("private key in the PKCS#12 data"))?;
    let id = key.local_key_id.as_ref().map(|id| &id.0);
    let mut rest: Vec<&Certificate> = archive.certs.iter().map(|bag| &bag.cert).collect();
    if rest.is_empty() {
        return Err(TlsError::Missing("certificate in the PKCS#12 data"));
    }
    let own = archive.certs.iter().position(|bag| id.is_some() && bag.local_key_id.as_ref() == id);
    let mut chain = vec![rest.remove(own.unwrap_or(0))];
    while let Some(last) = chain.last()
        && last.issuer() != last.subject()
        && let Some(next) = rest.iter().position(|other| other.subject() == last.issuer())
    {
        chain.push(rest.remove(next));
    }
    let chain =
        chain.into_iter().map(|certificate| CertificateDer::from(certificate.as_der().to_vec())).collect();
    Ok((chain, PrivatePkcs8KeyDer::from(key.key.as_der().to_vec()).into()))
}
