use super::*;
use crate::config::ClientParams;

const SECRET: &str = "secret-7";

fn to(host: &str) -> Host {
    Host::parse(host).unwrap()
}

/// A proxy as `KIND HOST:PORT`, with its credentials.
fn shown(server: Option<ProxyServer>) -> Option<String> {
    let ProxyServer { kind, host, port, credentials } = server?;
    let shown = credentials.map(|one| format!(" {}:{}", one.user.expose(), one.password.expose()));
    Some(format!("{kind:?} {}:{port}{}", host.name, shown.unwrap_or_default()))
}

fn server(proxy: Result<Proxy, ParamsError>) -> String {
    shown(proxy.unwrap().server(&to("h"), false)).unwrap()
}

#[test]
fn a_proxy_is_named_by_a_url_or_by_its_host() {
    for (url, expected) in [
        ("http://proxy.example:3128", "Http proxy.example:3128"),
        ("http://proxy.example", "Http proxy.example:80"),
        ("HTTP://Proxy.example:80/", "Http proxy.example:80"),
        ("proxy.example:3128", "Http proxy.example:3128"),
        ("[::1]:3128", "Http ::1:3128"),
        ("http://[fe80::1%25eth0]:3128", "Http fe80::1%eth0:3128"),
        ("http://ronald:a%20b%2Fc%C3%A9@proxy:1", "Http proxy:1 ronald:a b/cé"),
        ("ronald@proxy:1", "Http proxy:1 ronald:"),
    ] {
        assert_eq!(server(Proxy::http(url)), expected, "{url}");
    }
    for (url, expected) in [
        ("socks5://proxy.example", "Socks5 proxy.example:1080"),
        ("socks5h://127.1:9050/", "Socks5 127.0.0.1:9050"),
        ("socks5://[::1]", "Socks5 ::1:1080"),
        ("Proxy.example:1", "Socks5 proxy.example:1"),
        ("socks5://ronald:secret@proxy", "Socks5 proxy:1080 ronald:secret"),
    ] {
        assert_eq!(server(Proxy::socks5(url)), expected, "{url}");
    }
}

#[test]
fn a_url_that_is_not_of_such_a_proxy_is_refused_and_not_quoted() {
    type Make = fn(&str) -> Result<Proxy, ParamsError>;
    for (make, url, why) in [
        (Proxy::http as Make, "", "host"),
        (Proxy::http, "http://", "malformed"),
        (Proxy::http, "http://u:secret-7@/", "malformed"),
        (Proxy::http, "http://u:secret-7@a b", "malformed"),
        (Proxy::http, "https://u:secret-7@proxy", "TLS (https)"),
        (Proxy::http, "ftp://u:secret-7@proxy", "scheme"),
        (Proxy::http, "socks5://u:secret-7@proxy", "its scheme is not http"),
        (Proxy::http, "http://proxy:0", "port"),
        (Proxy::http, "http://proxy:secret-7", "malformed"),
        (Proxy::http, "http://proxy/secret-7", "more than"),
        (Proxy::http, "http://proxy?secret-7", "more than"),
        (Proxy::http, "http://proxy#secret-7", "more than"),
        (Proxy::http, "http://u:%ffsecret-7@proxy", "not text"),
        (Proxy::socks5, "http://u:secret-7@proxy", "socks5 or socks5h"),
        (Proxy::socks5, "socks4://u:secret-7@proxy", "scheme"),
        (Proxy::socks5, "socks5://", "host"),
        (Proxy::socks5, "socks5://u:secret-7@%0d%0a", "host"),
        (Proxy::socks5, "socks5:proxy", "malformed"),
    ] {
        let error = make(url).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the URL of the proxy is not usable: "), "{url}: {text}");
        assert!(text.contains(why) || why == "host" && text.contains("malformed"), "{url}: {text}");
        assert!(!text.contains(SECRET) && !format!("{error:?}").contains(SECRET), "{url}: {text}");
    }
}

#[test]
fn a_proxy_does_not_show_its_credentials() {
    let url = format!("http://{SECRET}:{SECRET}@proxy");
    let proxies = [
        Proxy::http(&url).unwrap(),
        Proxy::http("proxy").unwrap().credentials(SECRET, SECRET),
        Proxy::from_variables(|name| (name == "https_proxy").then(|| url.clone())).unwrap(),
    ];
    for proxy in proxies {
        let params = ClientParams::new("h", 80).proxy(proxy.clone());
        let shown = format!("{proxy:?} {params:?} {:?}", proxy.server(&to("h"), true));
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[test]
fn credentials_that_are_given_count_instead_of_those_in_the_url() {
    let proxy = Proxy::http("http://a:b@proxy").map(|proxy| proxy.credentials("c", "d"));
    assert_eq!(server(proxy), "Http proxy:80 c:d");
}

#[test]
fn credentials_and_names_that_a_protocol_cannot_carry_are_refused() {
    let (http, socks5) = (|| Proxy::http("proxy").unwrap(), || Proxy::socks5("proxy").unwrap());
    let long = |bytes: usize| "x".repeat(bytes);
    let check = |proxy: Proxy, host: &str| ClientParams::new(host, 80).proxy(proxy).check().err();
    for (proxy, why) in [
        (http().credentials("a:b", "c"), Some("the user name for the proxy is not usable")),
        (http().credentials("a\r\n", "c"), Some("control characters")),
        (http().credentials("a", "c\0"), Some("control characters")),
        (http().credentials("", ""), None),
        (http().credentials("ä", "b:c"), None),
        (http().credentials(long(300), long(300)), None),
        (socks5().credentials("", "c"), Some("1 to 255 bytes")),
        (socks5().credentials(long(256), "c"), Some("1 to 255 bytes")),
        (socks5().credentials("a", long(256)), Some("the password for the proxy is not usable")),
        (socks5().credentials(long(255), long(255)), None),
        (socks5().credentials("a:b\r\n", ""), None),
    ] {
        let error = check(proxy, "h").map(|error| error.to_string());
        match why {
            Some(why) => assert!(error.as_ref().is_some_and(|error| error.contains(why)), "{why}: {error:?}"),
            None => assert_eq!(error, None),
        }
    }
    let (fits, longer) = (format!("{}.example", long(247)), format!("{}.example", long(248)));
    assert_eq!(check(socks5(), &fits), None);
    let too_long = ParamsError::TooLarge { what: "length of the host", most: 255 };
    assert_eq!(check(socks5(), &longer), Some(too_long));
    assert_eq!(check(http(), &longer), None);
    assert_eq!(check(socks5().except(["example"]), &longer), None, "it is connected to directly");
}

/// The proxies for `ws` and `wss` with these variables.
fn from(variables: &[(&str, &str)]) -> (Option<String>, Option<String>) {
    let value =
        |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string());
    let proxy = Proxy::from_variables(value).unwrap();
    (shown(proxy.server(&to("chat.example"), false)), shown(proxy.server(&to("chat.example"), true)))
}

#[test]
fn the_environment_names_proxies_as_the_documentation_says() {
    let both = |name: &str| (Some(name.to_owned()), Some(name.to_owned()));
    let (https, http) = (("https_proxy", "http://s:1"), ("http_proxy", "http://p:2"));
    let all = ("all_proxy", "socks5://a:3");
    assert_eq!(from(&[]), (None, None));
    assert_eq!(from(&[https]), both("Http s:1"));
    assert_eq!(from(&[http]), (Some("Http p:2".into()), None));
    assert_eq!(from(&[all]), both("Socks5 a:3"));
    assert_eq!(from(&[http, https, all]), both("Http s:1"));
    assert_eq!(from(&[http, all]), (Some("Http p:2".into()), Some("Socks5 a:3".into())));
    assert_eq!(from(&[("https_proxy", " "), all]), both("Socks5 a:3"));
    assert_eq!(from(&[("HTTPS_PROXY", "u:p@S:1")]), both("Http s:1 u:p"));
    assert_eq!(from(&[("HTTPS_PROXY", "upper:1"), ("https_proxy", "lower:1")]), both("Http lower:1"));
    assert_eq!(from(&[("HTTPS_PROXY", "upper:1"), ("https_proxy", "")]), both("Http upper:1"));
}

#[test]
fn what_a_client_of_a_cgi_program_sends_is_not_taken_for_its_proxy() {
    let cgi = ("REQUEST_METHOD", "GET");
    assert_eq!(from(&[("HTTP_PROXY", "evil:1")]).0.as_deref(), Some("Http evil:1"));
    assert_eq!(from(&[("HTTP_PROXY", "evil:1"), cgi]), (None, None));
    assert_eq!(from(&[("http_proxy", "own:1"), cgi]).0.as_deref(), Some("Http own:1"));
    assert_eq!(from(&[("HTTPS_PROXY", "own:1"), cgi]).1.as_deref(), Some("Http own:1"));
}

#[test]
fn a_variable_that_is_not_usable_is_named_and_not_passed_over() {
    for (name, value) in [
        ("https_proxy", "https://u:secret-7@proxy"),
        ("ALL_PROXY", "socks4://u:secret-7@proxy"),
        ("http_proxy", "http://u:secret-7@a b"),
    ] {
        let error = Proxy::from_variables(|asked| (asked == name).then(|| value.to_owned())).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("the environment variable {name} is not usable: ")), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn hosts_that_are_excepted_are_connected_to_directly() {
    for (except, direct, others) in [
        ("example.com", ["example.com", "EXAMPLE.com", "a.b.example.com"], ["notexample.com", "example.org"]),
        (".example.com", ["example.com", "a.example.com", "example.com."], ["notexample.com", "com"]),
        ("example.com.", ["example.com", "a.example.com", "example.com."], ["notexample.com", "com"]),
        ("münchen.de", ["münchen.de", "xn--mnchen-3ya.de", "a.münchen.de"], ["muenchen.de", "de"]),
        ("a.example, b.example", ["a.example", "b.example", "x.b.example"], ["c.example", "example"]),
        ("10.0.0.7", ["10.0.0.7", "10.0.7", "0xa.0.0.7"], ["10.0.0.8", "x.10.0.0.7.example"]),
        ("10.0.0.0/8", ["10.0.0.7", "10.255.255.255", "10.1"], ["11.0.0.1", "a.example"]),
        ("fe80::/10,[::1]", ["fe80::1", "fe80::1%eth0", "[::1]"], ["::2", "127.0.0.1"]),
        ("localhost", ["localhost", "LOCALHOST", "a.localhost"], ["127.0.0.1", "::1"]),
    ] {
        let by_env = |name: &str| match name {
            "no_proxy" => Some(except.to_owned()),
            "all_proxy" => Some("proxy:1".to_owned()),
            _ => None,
        };
        for proxy in [Proxy::http("proxy").unwrap().except([except]), Proxy::from_variables(by_env).unwrap()]
        {
            for (hosts, through) in [(&direct[..], false), (&others[..], true)] {
                for host in hosts {
                    for secured in [false, true] {
                        assert_eq!(proxy.server(&to(host), secured).is_some(), through, "{except}: {host}");
                    }
                }
            }
        }
    }
    let nowhere = Proxy::http("proxy").unwrap().except(["*"]);
    for host in ["a.example", "10.0.0.7", "::1"] {
        assert!(nowhere.server(&to(host), true).is_none(), "{host}");
    }
    let all = Proxy::http("proxy").unwrap().except(["", " , ,", "example:80", "*.example"]);
    assert!(all.server(&to("a.example"), true).is_some());
}
