//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Url};

use super::breaker;
use super::nodes::Nodes;
use super::{Client, Error, LONGEST};

/// The settings of a [`Client`], each with a default.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    nodes: Vec<String>,
    deadline: Duration,
    attempt: Duration,
    connect: Duration,
    idle_per_node: usize,
    breaker: breaker::Limits,
    authorities: Option<Vec<u8>>,
    agent: String,
}

impl Builder {
    pub(super) fn new(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Into::into).collect(),
            deadline: Duration::from_secs(15),
            attempt: Duration::from_millis(5_500),
            connect: Duration::from_secs(1),
            idle_per_node: 64,
            breaker: breaker::Limits { failures: 5, pause: Duration::from_secs(5) },
            authorities: None,
            agent: format!("conclave-client/{}", env!("CARGO_PKG_VERSION")),
        }
    }

    /// How long a call may take with all its tries, unless it says so itself. 15 s by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(LONGEST);
        self
    }

    /// How long one node may take. 5.5 s by default, because a node ends every request within 5 s: what
    /// takes longer is no slow node but one that is gone.
    pub fn attempt_timeout(mut self, attempt: Duration) -> Self {
        self.attempt = attempt.min(LONGEST);
        self
    }

    /// How long it may take to reach a node. 1 s by default.
    pub fn connect_timeout(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// How many idle connections are kept to each node. 64 by default.
    pub fn idle_connections(mut self, per_node: usize) -> Self {
        self.idle_per_node = per_node;
        self
    }

    /// After how many failures in a row a node is left alone, and for how long. 5 and 5 s by default.
    /// Answers of 4xx are no failures.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.breaker = breaker::Limits { failures: failures.max(1), pause: pause.min(LONGEST) };
        self
    }

    /// Trusts these certificate authorities (PEM) and no others, for `https` nodes. By default those of the
    /// operating system.
    pub fn trust_only(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// What the audit trail shows as the agent.
    pub fn user_agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Makes the client. Asks nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a node, or when an address or a certificate is none.
    pub fn build(self) -> Result<Client, Error> {
        let bases = self.nodes.iter().map(|node| base(node)).collect::<Result<Vec<_>, _>>()?;
        if bases.is_empty() {
            return Err(Error::Invalid("a client needs the address of at least one node".to_owned()));
        }
        let mut http = reqwest::Client::builder()
            // A redirect would carry a token elsewhere; no node sends one.
            .redirect(reqwest::redirect::Policy::none())
            // Whom to ask next is decided here, by node; a proxy of the environment would hide which one failed.
            .no_proxy()
            .connect_timeout(self.connect)
            .pool_max_idle_per_host(self.idle_per_node)
            .tcp_nodelay(true)
            .user_agent(self.agent);
        if let Some(pem) = &self.authorities {
            let bad = |_| Error::Invalid("these are no certificates in PEM".to_owned());
            http = http.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(bad)?);
        } else if bases.iter().all(|base| base.starts_with("http:")) {
            // Those of the operating system would be read now, and a container without any would be an error.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| Error::Invalid(error.without_url().to_string()))?;
        let nodes = Arc::new(Nodes::new(bases.len(), self.breaker));
        Ok(Client { http, bases: bases.into(), nodes, deadline: self.deadline, attempt: self.attempt })
    }
}

/// The address that paths are put behind: without a final slash, query or credentials.
fn base(node: &str) -> Result<String, Error> {
    let invalid =
        || Error::Invalid(format!("no address of a node: {}", node.chars().take(80).collect::<String>()));
    let url = Url::parse(node).map_err(|_| invalid())?;
    let is_http = ["http", "https"].contains(&url.scheme()) && url.has_host();
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !is_http || !is_plain || url.query().is_some() || url.fragment().is_some() {
        // Not quoted: it may hold a password.
        return Err(Error::Invalid(
            "a node is http://host:port or https://host:port, and no more".to_owned(),
        ));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_without_credentials() {
        assert_eq!(base("http://127.0.0.1:8080/").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(base("https://iam.example.com/inner/").unwrap(), "https://iam.example.com/inner");
        for bad in ["", "127.0.0.1:8080", "ftp://a", "http://u:hunter2@a", "http://a?b", "http://a#b"] {
            let error = base(bad).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Client::builder(Vec::<String>::new()).build().is_err());
        assert!(Client::builder(["https://a"]).trust_only("-----BEGIN CERTIFICATE-----\nx").build().is_err());
    }
}
