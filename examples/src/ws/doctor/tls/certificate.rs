//! What a certificate says, and in words what is wrong with it.

use chrono::{DateTime, SubsecRound, Utc};
use tokio_rustls::rustls::{
    CertificateError, Error, client::verify_server_name, pki_types::ServerName, server::ParsedCertificate,
};
use websockets_simple_core::tls::{AlternativeName, PeerCertificate, wording};

use crate::ws::doctor::{
    finding::{Facts, Fault},
    probe::Address,
    tls::recorder::Seen,
};

/// Names of a certificate that are shown.
const MOST_NAMES: usize = 20;

/// Notes what the server's certificate says. Each check is made for itself, so that all that is wrong is seen at once.
pub(super) fn describe(seen: &Seen, name: &ServerName<'_>, facts: &mut Facts) {
    let Some(read) = own(seen) else {
        facts.check("certificate", "it cannot be read", false);
        return;
    };
    let is_for_name = seen
        .chain
        .first()
        .and_then(|der| ParsedCertificate::try_from(der).ok())
        .is_some_and(|parsed| verify_server_name(&parsed, name).is_ok());
    let now = Utc::now();
    facts.see("subject", read.subject());
    facts.check("names", names(&read), is_for_name);
    facts.see("issuer", if is_self_signed(&read) { "itself" } else { read.issuer() });
    facts.check("valid from", time(read.not_before()), read.not_before() <= now);
    facts.check("valid until", time(read.not_after()), now <= read.not_after());
    facts.see("days left", (read.not_after() - now).num_days());
    facts.see("chain length", seen.chain.len());
    facts.check("trusted", trust(seen), seen.trusted_by.is_some());
}

fn trust(seen: &Seen) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
    };
    match (&seen.trusted_by, &seen.fault) {
        (Some(roots), _) => format!("by {roots}"),
        (None, Some(Error::InvalidCertificate(fault))) => match fault {
            // The name is looked at last, when the issuer has been found.
            NotValidForName | NotValidForNameContext { .. } => {
                "its issuer is, but for another name".to_owned()
            }
            Expired | ExpiredContext { .. } => "no more".to_owned(),
            NotValidYet | NotValidYetContext { .. } => "not yet".to_owned(),
            _ => "no".to_owned(),
        },
        _ => "no".to_owned(),
    }
}

/// Why a certificate is not accepted.
pub(super) fn fault(why: &CertificateError, seen: &Seen, address: &Address, no_roots: bool) -> Fault {
    let Some(read) = own(seen) else {
        return Fault::new(
            "the certificate of the server cannot be read",
            "have a certificate issued for the server that is a valid X.509 certificate",
        );
    };
    let host = address.name();
    match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = names(&read).join(", ");
            let names = if names.is_empty() { "no name at all".to_owned() } else { names };
            Fault::new(
                format!("the certificate is for another name: it is for {names}, and the URL says {host}"),
                format!("connect with a name of the certificate, or have one issued that is also for {host}"),
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => expired(&read),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Fault::new(
            format!("the certificate is not valid yet: it begins on {}", time(read.not_before())),
            "check the clock of this machine; or wait, or have the certificate issued with an earlier begin",
        ),
        _ if is_self_signed(&read) => Fault::new(
            "the certificate is self-signed: its issuer is the server itself, which this machine does not trust",
            "if it is yours, trust it with `--root FILE`; a public server needs one of a known authority",
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            unknown_issuer(&read, seen, no_roots)
        }
        other => Fault::new(
            format!("the certificate is not accepted: {}", wording::certificate_fault(other)),
            "have another certificate issued for the server",
        ),
    }
}

fn expired(read: &PeerCertificate) -> Fault {
    let ago = (Utc::now() - read.not_after()).num_days();
    if ago < 0 {
        return Fault::new(
            "a certificate between that of the server and its root has expired",
            "have the server send the present chain of its authority",
        );
    }
    Fault::new(
        format!("the certificate has expired on {}, {ago} days ago", time(read.not_after())),
        "renew it, and have the server load the new one; if it is valid elsewhere, check the clock of this machine",
    )
}

fn unknown_issuer(read: &PeerCertificate, seen: &Seen, no_roots: bool) -> Fault {
    let issuer = read.issuer();
    if no_roots {
        return Fault::new(
            "this machine has no root certificates, so it trusts no server",
            "install them (on Debian: ca-certificates), or give one with `--root FILE`",
        );
    }
    let chain = if seen.chain.len() == 1 {
        "; if the authority is a public one, have the server send its intermediate certificates too"
    } else {
        ""
    };
    Fault::new(
        format!("the issuer of the certificate is unknown: {issuer} is not trusted by this machine"),
        format!("if that authority is yours, trust it with `--root FILE`{chain}"),
    )
}

fn own(seen: &Seen) -> Option<PeerCertificate> {
    PeerCertificate::new(seen.chain.first()?)
}

fn is_self_signed(read: &PeerCertificate) -> bool {
    read.subject() == read.issuer()
}

fn names(read: &PeerCertificate) -> Vec<String> {
    let shown = |name: &AlternativeName| match name {
        AlternativeName::Dns(name) | AlternativeName::Email(name) | AlternativeName::Uri(name) => {
            name.clone()
        }
        AlternativeName::Ip(ip) => ip.to_string(),
        other => format!("{other:?}"),
    };
    read.alternative_names().iter().take(MOST_NAMES).map(shown).collect()
}

fn time(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(0).to_string()
}
