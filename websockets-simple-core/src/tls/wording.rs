//! Faults of TLS handshakes in words: the TLS library prints names of its own types.

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::tls::TlsError;

/// An error and its sources on one line.
#[must_use]
pub fn in_full(error: &TlsError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What is wrong with a certificate of the peer: `it has expired`.
#[must_use]
pub fn certificate_fault(fault: &CertificateError) -> &'static str {
    match fault {
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::BadSignature => "a signature is invalid",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of its issuer has expired"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it was issued for another purpose"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnhandledCriticalExtension => "it has an unknown critical extension",
        CertificateError::UnknownIssuer => "its issuer is not trusted",
        CertificateError::UnknownRevocationStatus => "it is unknown whether it was revoked",
        _ => "it is invalid",
    }
}

/// An alert by its number and its name (RFC 8446 section 6): `alert 40, handshake failure`.
#[must_use]
pub fn alert(alert: AlertDescription) -> String {
    let number = u8::from(alert);
    let name = match number {
        10 => "unexpected message",
        20 => "bad record MAC",
        22 => "record overflow",
        40 => "handshake failure",
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate unknown",
        47 => "illegal parameter",
        48 => "unknown authority",
        49 => "access denied",
        50 => "decode error",
        51 => "decrypt error",
        70 => "protocol version",
        71 => "insufficient security",
        80 => "internal error",
        86 => "inappropriate fallback",
        90 => "user canceled",
        109 => "missing extension",
        110 => "unsupported extension",
        112 => "unrecognized name",
        116 => "certificate required",
        120 => "no application protocol",
        _ => return format!("alert {number}"),
    };
    format!("alert {number}, {name}")
}

/// A fault of a handshake with `peer`, which is `the server` or `the client`.
#[must_use]
pub fn fault(fault: &Error, peer: &str) -> String {
    match fault {
        Error::AlertReceived(received) => format!("{peer} sent the {}", alert(*received)),
        Error::InvalidCertificate(fault) => {
            format!("the certificate of {peer} is not accepted: {}", certificate_fault(fault))
        }
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => format!("{peer} does not speak TLS"),
        Error::InappropriateHandshakeMessage { .. }
        | Error::InappropriateMessage { .. }
        | Error::PeerMisbehaved(_) => format!("{peer} breaks the TLS protocol"),
        Error::NoApplicationProtocol => format!("{peer} does not offer HTTP/1.1"),
        Error::PeerIncompatible(_) => "client and server have no TLS parameters in common".to_owned(),
        Error::DecryptError
        | Error::EncryptError
        | Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes
        | Error::General(_)
        | Error::NoCertificatesPresented
        | Error::Other(_) => fault.to_string(),
        _ => "the TLS handshake failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{ContentType, InvalidMessage, PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[test]
    fn every_alert_has_its_number_and_no_name_of_a_type() {
        for number in 0..=u8::MAX {
            let words = alert(AlertDescription::from(number));
            assert!(words.starts_with(&format!("alert {number}")), "{words}");
            // `HandshakeFailure` would be the name of a type.
            let is_joined = |word: &str| word.chars().skip(1).any(char::is_uppercase) && word != "MAC";
            assert!(!words.split([' ', ',']).any(is_joined), "{words}");
        }
        assert_eq!(alert(AlertDescription::HandshakeFailure), "alert 40, handshake failure");
        assert_eq!(alert(AlertDescription::from(250)), "alert 250");
    }

    #[test]
    fn faults_are_sentences_about_the_peer() {
        for (given, expected) in [
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "the client does not speak TLS"),
            (
                Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedKxGroup),
                "the client breaks the TLS protocol",
            ),
            (
                Error::InappropriateMessage { expect_types: vec![], got_type: ContentType::Alert },
                "the client breaks the TLS protocol",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
                "client and server have no TLS parameters in common",
            ),
            (
                Error::InvalidCertificate(CertificateError::BadEncoding),
                "the certificate of the client is not accepted: it is malformed",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "the client sent the alert 48, unknown authority",
            ),
            (Error::NoApplicationProtocol, "the client does not offer HTTP/1.1"),
            (Error::HandshakeNotComplete, "the TLS handshake failed"),
        ] {
            assert_eq!(fault(&given, "the client"), expected);
        }
    }
}
