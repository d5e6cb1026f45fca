//! What the agent asks of the network: addresses of pages, and names.

use crate::diagnostic::Problem;
use crate::yaml::shorten;

/// Bytes of a name, without a dot at its end, and of one part of it. Source: RFC 1035, section 2.3.4.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// An address that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub tls: bool,
    /// A name, or an address; of IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What the header `Host` says.
    pub authority: String,
    /// Path and query, from `/` on.
    pub target: String,
}

/// Reads `http://HOST[:PORT][/PATH][?QUERY]`, or `https`; what follows `#` is never sent.
///
/// # Errors
/// When a part is missing or wrong, or it names a user.
pub fn parse_url(text: &str) -> Result<Url, Problem> {
    let wrong = |what: &str| {
        Problem::hint(format!("`{}` cannot be fetched: {what}", shorten(text)), "such as `https://HOST/PATH`")
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(wrong("the scheme is neither http nor https")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("spaces and other signs are written %XX, names of other alphabets xn--…"));
    }
    if authority.contains('@') {
        return Err(wrong("users and passwords are not sent"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("the address is not one of IPv6"))?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            check_name(host).map_err(|what| wrong(&format!("its host {what}")))?;
            (host, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is wrong"))?,
        None if port.is_empty() => {
            if tls {
                443
            } else {
                80
            }
        }
        None => return Err(wrong("something follows its host")),
    };
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Url { tls, host: host.to_owned(), port, authority: authority.to_owned(), target })
}

/// Reads a name that can be looked up, and takes the dot at its end away.
///
/// # Errors
/// When it is no name.
pub fn parse_name(text: &str) -> Result<String, Problem> {
    let name = text.strip_suffix('.').unwrap_or(text);
    match check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(what) => {
            let message = format!("`{}` cannot be looked up: it {what}", shorten(text));
            Err(Problem::hint(message, "such as `host.example.org`"))
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() {
        Err("is missing".into())
    } else if name.len() > MAX_NAME {
        Err(format!("has more than {MAX_NAME} bytes"))
    } else if name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL) {
        Err(format!("has a part that is empty or has more than {MAX_LABEL} bytes"))
    } else if !name.split('.').flat_map(str::bytes).all(sign) {
        Err("has signs other than letters, digits, `-` and `_`".into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parsed =
            |text| parse_url(text).map(|url| (url.tls, url.host, url.port, url.authority, url.target));
        let url = |tls, host: &str, port, authority: &str, target: &str| {
            Ok((tls, host.to_owned(), port, authority.to_owned(), target.to_owned()))
        };
        assert_eq!(parsed("http://ebpf.io"), url(false, "ebpf.io", 80, "ebpf.io", "/"));
        assert_eq!(parsed("HTTPS://a:8443/x?y=%20#z"), url(true, "a", 8443, "a:8443", "/x?y=%20"));
        assert_eq!(parsed("https://1.2.3.4?q"), url(true, "1.2.3.4", 443, "1.2.3.4", "/?q"));
        assert_eq!(parsed("http://[::1]:80/"), url(false, "::1", 80, "[::1]:80", "/"));
        for wrong in [
            "",
            "ebpf.io",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://u:p@a",
            "http://a b",
            "http://ä",
            "http://[1.2.3.4]/",
            "http://[::1]x/",
            "http://a..b",
            "http://[::1",
            "http://a/\r\nX: y",
        ] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(parse_name("a.example.").as_deref(), Ok("a.example"));
        assert_eq!(parse_name("_x-1"), Ok("_x-1".to_owned()));
        let (label, long) = ("a".repeat(MAX_LABEL), vec!["a"; 127].join("."));
        assert_eq!((label.len(), long.len()), (63, 253));
        assert!(parse_name(&label).is_ok() && parse_name(&long).is_ok());
        for wrong in ["", ".", "a..b", ".a", "a b", "ä", &format!("{label}a"), &format!("{long}.a"), "a/b"] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }
}
