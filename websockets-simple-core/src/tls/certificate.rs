//! A certificate, and the fields of it that users read.

use std::{fmt, net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

/// An X.509 certificate: its subject, names, issuer and validity. Cloning shares it.
#[derive(Clone, Eq, PartialEq)]
pub struct PeerCertificate(Arc<Facts>);

#[derive(Eq, PartialEq)]
struct Facts {
    subject: String,
    common_name: Option<String>,
    issuer: String,
    serial: String,
    names: Vec<AlternativeName>,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    der: Vec<u8>,
}

/// A name of the subject (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AlternativeName {
    /// A host name.
    Dns(String),
    /// A mail address.
    Email(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI, such as a SPIFFE id.
    Uri(String),
}

impl PeerCertificate {
    /// Reads a certificate in DER; `None` if it cannot be read.
    #[must_use]
    pub fn new(der: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(alternative_name);
        Some(Self(Arc::new(Facts {
            subject: read.subject().to_string(),
            common_name: read
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            issuer: read.issuer().to_string(),
            serial: read.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            names: names.collect(),
            not_before: moment(read.validity().not_before)?,
            not_after: moment(read.validity().not_after)?,
            der: der.to_vec(),
        })))
    }

    /// The subject as a line of text, such as `O=Example, CN=ronald`. For display only: two certificates with the
    /// same text need not be of the same issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The first common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The subject alternative names, in the order of the certificate. Kinds that are not listed in
    /// [`AlternativeName`] are left out.
    #[must_use]
    pub fn alternative_names(&self) -> &[AlternativeName] {
        &self.0.names
    }

    /// The issuer, as a line of text.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The serial number in hexadecimal digits, unique per issuer.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// From when on it is valid.
    #[must_use]
    pub fn not_before(&self) -> DateTime<Utc> {
        self.0.not_before
    }

    /// Until when it is valid.
    #[must_use]
    pub fn not_after(&self) -> DateTime<Utc> {
        self.0.not_after
    }

    /// The certificate itself, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    Some(match name {
        GeneralName::DNSName(name) => AlternativeName::Dns((*name).to_owned()),
        GeneralName::RFC822Name(name) => AlternativeName::Email((*name).to_owned()),
        GeneralName::URI(uri) => AlternativeName::Uri((*uri).to_owned()),
        GeneralName::IPAddress(bytes) => AlternativeName::Ip(match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
            _ => <[u8; 16]>::try_from(*bytes).ok()?.into(),
        }),
        _ => return None,
    })
}

fn moment(time: ASN1Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.timestamp(), 0)
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("subject", &self.0.subject)
            .field("names", &self.0.names)
            .field("serial", &self.0.serial)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A self-signed certificate in DER.
    fn certificate() -> Vec<u8> {
        let mut params =
            rcgen::CertificateParams::new(vec!["chat.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "chat");
        params.serial_number = Some(rcgen::SerialNumber::from(0x1234_u64));
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn what_a_certificate_says_can_be_asked() {
        let der = certificate();
        let certificate = PeerCertificate::new(&der).unwrap();
        assert_eq!(certificate.common_name(), Some("chat"));
        assert_eq!(
            certificate.alternative_names(),
            [AlternativeName::Dns("chat.example".to_owned()), AlternativeName::Ip([127, 0, 0, 1].into())]
        );
        assert_eq!((certificate.serial(), certificate.der()), ("1234", &der[..]));
        assert_eq!(certificate.subject(), certificate.issuer());
        assert!(certificate.not_before() < Utc::now() && Utc::now() < certificate.not_after());
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_is_read_or_refused(at: prop::sample::Index, byte: u8, len: prop::sample::Index) {
            let mut der = certificate();
            let at = at.index(der.len());
            der[at] = byte;
            let _ = PeerCertificate::new(&der);
            prop_assert!(PeerCertificate::new(&der[..len.index(der.len())]).is_none());
        }

        #[test]
        fn what_is_no_certificate_is_refused(bytes: Vec<u8>) {
            prop_assert!(PeerCertificate::new(&bytes).is_none());
        }
    }
}
