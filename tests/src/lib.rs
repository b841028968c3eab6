//! Helpers shared by the tests of whole clients and servers.
