//! The TLS parameters of a client.

use websockets_simple_core::tls::{TlsIdentity, TlsVersions};

use super::ClientParams;

/// The TLS part of the parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsParams {
    pub(crate) versions: TlsVersions,
    pub(crate) trust: Trust,
    /// Root certificates in PEM.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The only certificates that are accepted, in PEM.
    pub(crate) pinned: Vec<Vec<u8>>,
    pub(crate) identity: Option<TlsIdentity>,
}

/// Which server certificates are accepted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Trust {
    Anything,
    GivenRoots,
    #[default]
    Platform,
}

#[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
impl ClientParams {
    /// TLS versions to offer. Default: 1.2 and 1.3.
    #[must_use]
    pub fn tls_versions(mut self, versions: TlsVersions) -> Self {
        self.tls.versions = versions;
        self
    }

    /// Trusts the root certificates in this PEM, besides those of the system.
    #[must_use]
    pub fn root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots.push(pem.into());
        self
    }

    /// Trusts only the root certificates given with [`root_pem`](Self::root_pem), at least one of which is required.
    #[must_use]
    pub fn only_given_roots(mut self) -> Self {
        self.tls.trust = Trust::GivenRoots;
        self
    }

    /// Accepts exactly this certificate (in PEM) and no other, whatever its issuer: for servers with a self-signed
    /// certificate. Host name and validity period are still checked. Given several times, any of them is accepted.
    #[must_use]
    pub fn pinned_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.pinned.push(pem.into());
        self
    }

    /// Sends this client certificate to servers that ask for one.
    #[must_use]
    pub fn identity(mut self, identity: TlsIdentity) -> Self {
        self.tls.identity = Some(identity);
        self
    }

    /// Accepts any server certificate: an attacker on the network can read and change all traffic, the token included.
    /// Only for tests on a closed network. Overrides roots and pinned certificates.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.tls.trust = Trust::Anything;
        self
    }
}
