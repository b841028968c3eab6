//! How long a connection lives that came by an HTTP server of the application, and who can reach it.

/// How long a connection lives that came by [`Server::upgrade`](crate::Server::upgrade), and who can reach it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// Until one end closes it. It is reached as any other connection.
    #[default]
    Global,
    /// As long as the future of [`Upgrade::local`](crate::Upgrade::local), which alone can reach it.
    Local,
}
