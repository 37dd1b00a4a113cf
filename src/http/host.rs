//! Which host names we answer to.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use warp::http::header::HOST;
use warp::http::uri::Authority;
use warp::http::{HeaderMap, StatusCode, Uri};

use super::problem::Problem;

/// The names and addresses, without ports, that a request may be addressed to.
///
/// # Why
/// A page of another site can make a browser send requests here under the site's own name (DNS
/// rebinding), and a forged name gets into links and caches. Loopback is always allowed, and so is the
/// very address that the connection came in on: neither can be claimed by another site, and probes by
/// address work unconfigured.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(BTreeSet<String>);

impl AllowedHosts {
    /// Takes names or addresses; a port is ignored.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().filter_map(|name| bare(name.as_ref())).collect())
    }

    /// Checks that the request names exactly one host, once or twice the same, and that it is allowed.
    /// `local` is our own end of the connection.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap, local: SocketAddr) -> Result<(), Problem> {
        let mut given = headers.get_all(HOST).iter();
        let header = match (given.next(), given.next()) {
            (Some(value), None) => Some(value.to_str().map_err(|_| bad_host())?),
            (None, _) => None,
            (Some(_), Some(_)) => return Err(bad_host()),
        };
        // HTTP/2 has it in `:authority`, HTTP/1 also in an absolute request target; two must agree.
        let host = match (uri.authority().map(Authority::as_str), header) {
            (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => return Err(bad_host()),
            (Some(host), _) | (None, Some(host)) => bare(host).ok_or_else(bad_host)?,
            (None, None) => return Err(bad_host()),
        };
        if self.0.contains(&host) || is_loopback(&host) || host.parse() == Ok(local.ip().to_canonical()) {
            return Ok(());
        }
        let detail = "This node does not serve that host name; an operator can list it in allowed_hosts.";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", detail))
    }
}

fn bad_host() -> Problem {
    Problem::bad_request("invalid_host", "A request must name exactly one host.")
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The host in lower case, without port, brackets and final dot.
fn bare(host: &str) -> Option<String> {
    let authority = host.parse::<Authority>().ok().filter(|_| !host.contains('@'))?;
    let name = authority.host();
    let port = host.strip_prefix(name)?;
    if !port.is_empty() && port.strip_prefix(':')?.parse::<u16>().is_err() {
        return None;
    }
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let of_a_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!name.is_empty() && name.chars().all(of_a_host)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, hosts: &[&str]) -> u16 {
        let allowed = AllowedHosts::new(["iam.example.com", "10.1.2.3:8080"]);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let local = SocketAddr::from(([192, 168, 7, 7], 8080));
        allowed.check(&target.parse().unwrap(), &headers, local).err().map_or(200, |p| p.status().as_u16())
    }

    #[test]
    fn exactly_one_allowed_host() {
        for good in [
            "iam.example.com",
            "IAM.example.com:443",
            "iam.example.com.",
            "localhost",
            "localhost:8080",
            "x.localhost",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "10.1.2.3",
            "192.168.7.7:80",
        ] {
            assert_eq!(check("/", &[good]), 200, "{good}");
        }
        for other in [
            "example.com",
            "evil.iam.example.com",
            "iam.example.com.evil.org",
            "192.168.7.8",
            "localhost.evil.org",
        ] {
            assert_eq!(check("/", &[other]), 421, "{other}");
        }
        for bad in ["", ".", "a b", "a,b", "u@localhost", "localhost:x", "localhost/x"] {
            assert_eq!(check("/", &[bad]), 400, "{bad}");
        }
        assert_eq!(check("/", &[]), 400);
        assert_eq!(check("/", &["localhost", "localhost"]), 400);
    }

    #[test]
    fn target_and_header_must_agree() {
        assert_eq!(check("http://localhost/", &["localhost"]), 200);
        assert_eq!(check("http://localhost/", &[]), 200);
        assert_eq!(check("http://localhost/", &["iam.example.com"]), 400);
        assert_eq!(check("http://evil.org/", &["localhost"]), 400);
        assert_eq!(check("http://evil.org/", &["evil.org"]), 421);
    }
}
