//! What a client says of TLS.

use websockets_simple_core::tls::{TlsIdentity, TlsVersions};

use super::ClientParams;

/// The TLS part of the parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsParams {
    pub(crate) versions: TlsVersions,
    pub(crate) trust: Trust,
    /// Authorities in PEM.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The only certificates that are accepted, in PEM.
    pub(crate) pinned: Vec<Vec<u8>>,
    pub(crate) identity: Option<TlsIdentity>,
}

/// Which certificates of servers are accepted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Trust {
    Anything,
    GivenRoots,
    #[default]
    Platform,
}

impl ClientParams {
    /// Versions of TLS to offer. Default: 1.2 and 1.3.
    #[must_use]
    pub fn tls_versions(mut self, versions: TlsVersions) -> Self {
        self.tls.versions = versions;
        self
    }

    /// Trusts the authorities in this PEM, beside those the system trusts.
    #[must_use]
    pub fn root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots.push(pem.into());
        self
    }

    /// Trusts nothing but what [`root_pem`](Self::root_pem) was given, which has to be something then.
    #[must_use]
    pub fn only_given_roots(mut self) -> Self {
        self.tls.trust = Trust::GivenRoots;
        self
    }

    /// Accepts this very certificate (in PEM) and no other, whoever issued it: for servers that made their own. Its
    /// name and the time of its validity are checked as ever. Given several times, any of them is accepted.
    #[must_use]
    pub fn pinned_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.pinned.push(pem.into());
        self
    }

    /// Shows a certificate to servers that ask for one.
    #[must_use]
    pub fn identity(mut self, identity: TlsIdentity) -> Self {
        self.tls.identity = Some(identity);
        self
    }

    /// Accepts whatever certificate a server shows: anybody on the way can read and change what is sent, the token
    /// included. For tests on a closed network, and for nothing else. Overrides every other choice of whom to trust.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.tls.trust = Trust::Anything;
        self
    }
}
