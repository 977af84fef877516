//! The address of a broker as people write it.

use std::fmt;
use std::str::FromStr;

use crate::LinkError;

/// The port of MQTT without TLS.
const DEFAULT_PORT: u16 = 1883;

/// Where a broker listens: `mqtt://[user:password@]host[:port]`. `Display` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Host name or address; an IPv6 address stands in brackets.
    pub host: String,
    /// TCP port, 1883 by default.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
}

impl BrokerUrl {
    /// A broker without credentials.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            credentials: None,
        }
    }

    /// Host and port, as a socket takes them.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for BrokerUrl {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let wrong = |reason: String| LinkError::Url {
            url: without_password(text),
            reason,
        };
        let url = ::url::Url::parse(text).map_err(|e| wrong(e.to_string()))?;
        match url.scheme() {
            "mqtt" => {}
            "mqtts" => return Err(wrong("TLS is not supported yet".to_owned())),
            other => return Err(wrong(format!("its scheme is `{other}`"))),
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("nothing may follow the port".to_owned()));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host
            .ok_or_else(|| wrong("the host is missing".to_owned()))?
            .to_owned();
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => Some((
                percent_decoded(user).map_err(&wrong)?,
                percent_decoded(password).map_err(&wrong)?,
            )),
            _ => return Err(wrong("a user needs a password and a password a user".to_owned())),
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(DEFAULT_PORT),
            credentials,
        })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Error messages end in logs, so what stands between scheme and `@` is left out of them.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://***{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.ok_or("a `%` is not followed by two hexadecimal digits")?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "the credentials are not UTF-8".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let url: BrokerUrl = "mqtt://ann:p%40ss@broker.lan:1884".parse().unwrap();
        assert_eq!(url.host, "broker.lan");
        assert_eq!(url.port, 1884);
        assert_eq!(url.credentials, Some(("ann".to_owned(), "p@ss".to_owned())));
        assert_eq!(url.to_string(), "mqtt://broker.lan:1884");
    }

    #[test]
    fn the_port_is_1883_unless_given() {
        let url: BrokerUrl = "mqtt://10.0.0.5".parse().unwrap();
        assert_eq!(url, BrokerUrl::new("10.0.0.5", 1883));
    }

    #[test]
    fn ipv6_keeps_its_brackets() {
        let url: BrokerUrl = "mqtt://[::1]:1885".parse().unwrap();
        assert_eq!(url.address(), "[::1]:1885");
    }

    #[test]
    fn what_is_no_broker_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("localhost", "relative URL without a base"),
            ("localhost:1883", "its scheme is `localhost`"),
            ("http://localhost", "its scheme is `http`"),
            ("mqtts://localhost", "TLS is not supported yet"),
            ("mqtt://", "the host is missing"),
            ("mqtt://host:99999", "invalid port number"),
            ("mqtt://host/path", "nothing may follow the port"),
            ("mqtt://ann@host", "a user needs a password"),
        ] {
            let error = text.parse::<BrokerUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let url: BrokerUrl = "mqtt://ann:secret@host".parse().unwrap();
        let error = "mqtt://ann:secret@host/x".parse::<BrokerUrl>().unwrap_err();
        for text in [url.to_string(), format!("{url:?}"), error.to_string()] {
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
