//! Values of options as they are typed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use websockets_simple_client::{ClientParams, Token};

/// A header of the request. Its value may be a secret.
#[derive(Clone, Debug)]
pub(super) struct Header {
    name: String,
    value: Token,
}

/// The address of a host on one port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Override {
    host: String,
    port: u16,
    address: IpAddr,
}

impl Header {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn value(&self) -> &str {
        self.value.expose()
    }
}

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(':').ok_or("write NAME:VALUE")?;
        Ok(Self { name: name.trim().to_owned(), value: Token::from(value.trim()) })
    }
}

impl FromStr for Override {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let (Some(host), Some(port), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("write HOST:PORT:ADDR, such as chat.example:443:127.0.0.1");
        };
        if host.is_empty() {
            return Err("the host is missing");
        }
        let port = port.parse().map_err(|_| "the port is not a number of 1 to 65535")?;
        let address = address.trim_matches(['[', ']']);
        let address = address.parse().map_err(|_| "the address is not an IP address")?;
        Ok(Self { host: host.to_owned(), port, address })
    }
}

impl Override {
    /// Host, port and address.
    pub(super) fn parts(&self) -> (String, u16, IpAddr) {
        (self.host.clone(), self.port, self.address)
    }

    /// Gives the client the addresses that are for this port.
    pub(super) fn put_into(all: &[Self], port: u16, mut params: ClientParams) -> ClientParams {
        let mut by_host: BTreeMap<&str, Vec<SocketAddr>> = BTreeMap::new();
        for given in all.iter().filter(|given| given.port == port) {
            by_host.entry(&given.host).or_default().push((given.address, port).into());
        }
        for (host, addresses) in by_host {
            params = params.resolve(host, addresses);
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_of_either_family() {
        let given = |text: &str| text.parse::<Override>();
        assert_eq!(given("a.example:80:10.0.0.7").unwrap().address, IpAddr::from([10, 0, 0, 7]));
        for text in ["a.example:80:::1", "a.example:80:[::1]"] {
            assert_eq!(given(text).unwrap().address, "::1".parse::<IpAddr>().unwrap(), "{text}");
        }
        for text in ["a.example", "a.example:80", ":80:10.0.0.7", "a.example:http:10.0.0.7", "a.example:80:b"]
        {
            assert!(given(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_value_of_a_header_is_not_shown() {
        let header: Header = "Cookie: a=b:c ".parse().unwrap();
        assert_eq!((header.name(), header.value()), ("Cookie", "a=b:c"));
        assert!(!format!("{header:?}").contains("a=b"));
    }
}
