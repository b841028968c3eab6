//! The scope of connections through an HTTP server of the application.

/// How long a connection made by [`Server::upgrade`](crate::Server::upgrade) lives, and whether broadcasts reach it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// It lives until one side closes it, and is addressed like any other connection.
    #[default]
    Global,
    /// It lives as long as the future of [`Upgrade::local`](crate::Upgrade::local), and only that can send to it.
    Local,
}
