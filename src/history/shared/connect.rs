//! The way to Redis: an address, or Sentinels that know it; encrypted or not;
//! with a password or without. Every wait has an end.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How long an answer may take. A pipeline waits so long for each of its
/// answers, so nobody here asks several things at once who must not wait long.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// The port of a Sentinel that names none.
const SENTINEL_PORT: u16 = 26_379;

/// Where the log that servers share is, and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedStore {
    url: String,
    /// The password, where the URL has none. It is never shown.
    pub password: Option<String>,
    /// A file of the certificates of the CAs to trust, instead of the system's.
    pub ca: Option<PathBuf>,
    /// How many replicas must hold an event before anybody sees it.
    pub replicas: usize,
    /// How long the other servers take this one for alive without a sign of it.
    pub lease: Duration,
}

impl SharedStore {
    /// Takes `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with
    /// `rediss` (encrypted), `redis+unix:///PATH`, or
    /// `redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],…/MASTER[/DATABASE]`
    /// (`rediss+sentinel` encrypts the way to the master and to the Sentinels).
    ///
    /// # Errors
    /// What it must be, without a word of what it is: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let store = Self {
            url: url.to_owned(),
            password: None,
            ca: None,
            replicas: 0,
            lease: Duration::from_secs(6),
        };
        match Source::new(&store) {
            Ok(_) => Ok(store),
            Err(_) => Err("it must be redis://HOST:PORT/DATABASE, rediss://…, \
                           redis+unix:///PATH or redis+sentinel://HOST:PORT,…/MASTER"
                .to_owned()),
        }
    }
}

impl fmt::Debug for SharedStore {
    /// Without the URL and the password: a log is no place for a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore")
            .field("replicas", &self.replicas)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Makes connections to the one Redis that takes writes.
#[derive(Clone)]
pub(super) struct Source {
    /// With the address of the server, or of nobody where Sentinels know it.
    info: ConnectionInfo,
    sentinels: Vec<ConnectionAddr>,
    /// How the Sentinels call it.
    master: String,
    is_encrypted: bool,
    certificates: TlsCertificates,
}

impl Source {
    pub(super) fn new(store: &SharedStore) -> Result<Self, RedisError> {
        let (url, hosts, master) = match store.url.split_once("+sentinel://") {
            Some((scheme, rest)) => sentinels_in(scheme, rest)?,
            None => (store.url.clone(), Vec::new(), String::new()),
        };
        let mut info = url.as_str().into_connection_info()?;
        if let Some(password) = &store.password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let root_cert = match &store.ca {
            None => None,
            Some(path) => Some(std::fs::read(path)?),
        };
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let address = |(host, port)| address(is_encrypted, host, port);
        Ok(Self {
            sentinels: hosts.into_iter().map(address).collect(),
            info,
            master,
            is_encrypted,
            certificates: TlsCertificates {
                client_tls: None,
                root_cert,
            },
        })
    }

    /// A connection to the server that takes writes.
    pub(super) fn connect(&self) -> Result<Connection, RedisError> {
        if self.sentinels.is_empty() {
            return self.dial(self.info.clone());
        }
        let mut last = RedisError::from((ErrorKind::Client, "no Sentinel is named"));
        for sentinel in &self.sentinels {
            match self.ask(sentinel) {
                Ok(connection) => return Ok(connection),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Connects to where this Sentinel says that the master is.
    fn ask(&self, sentinel: &ConnectionAddr) -> Result<Connection, RedisError> {
        // A Sentinel has no users or databases of its own here.
        let info = sentinel.clone().into_connection_info()?;
        let found: Option<(String, u16)> = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.master)
            .query(&mut self.dial(info)?)?;
        let Some((host, port)) = found else {
            return Err((ErrorKind::Client, "the Sentinel knows no such master").into());
        };
        let address = address(self.is_encrypted, host, port);
        let mut connection = self.dial(self.info.clone().set_addr(address))?;
        // Until the Sentinels have agreed it may be the old one.
        let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut connection)?;
        match role.first() {
            Some(redis::Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err((ErrorKind::Client, "the Sentinel's master is a replica").into()),
        }
    }

    fn dial(&self, info: ConnectionInfo) -> Result<Connection, RedisError> {
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                Client::build_with_tls(info, self.certificates.clone())?
            }
            _ => Client::open(info)?,
        };
        let connection = client.get_connection_with_timeout(CONNECT)?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.set_write_timeout(Some(ANSWER))?;
        Ok(connection)
    }
}

fn address(is_encrypted: bool, host: String, port: u16) -> ConnectionAddr {
    match is_encrypted {
        true => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
        false => ConnectionAddr::Tcp(host, port),
    }
}

/// The hosts and ports of Sentinels.
type Hosts = Vec<(String, u16)>;

/// What stands behind `redis+sentinel://`: a URL with the user, the password
/// and the database, the Sentinels, and the master's name.
fn sentinels_in(scheme: &str, rest: &str) -> Result<(String, Hosts, String), RedisError> {
    let malformed = || RedisError::from((ErrorKind::InvalidClientConfig, "malformed URL"));
    let (place, path) = rest.split_once('/').ok_or_else(malformed)?;
    let (user, hosts) = match place.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), place),
    };
    let (master, database) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err(malformed());
    }
    let one = |place: &str| {
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !place.ends_with(']') => (host, port.parse().ok()?),
            _ => (place, SENTINEL_PORT),
        };
        let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = in_brackets.unwrap_or(host);
        (!host.is_empty()).then(|| (host.to_owned(), port))
    };
    let hosts: Option<Hosts> = hosts.split(',').map(one).collect();
    let url = format!("{scheme}://{user}localhost/{database}");
    Ok((url, hosts.ok_or_else(malformed)?, master.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood_and_their_passwords_never_shown() {
        for url in [
            "redis://127.0.0.1",
            "redis://127.0.0.1:7000/2",
            "rediss://u:hush@redis.example:6380/0",
            "redis+unix:///run/redis.sock",
            "redis+sentinel://:hush@a:26379,b/chat/3",
            "rediss+sentinel://a/chat",
        ] {
            let store = SharedStore::parse(url).expect(url);
            assert!(!format!("{store:?}").contains("hush"), "{store:?}");
        }
        for url in [
            "redis://u:hush@h:port",
            "http://hush",
            "redis+sentinel://hush",
            "redis+sentinel://a:b/hush",
            "redis+sentinel://,/hush",
            "hush",
            "",
        ] {
            let why = SharedStore::parse(url).expect_err(url);
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn sentinels_share_a_user_and_a_database() {
        let url = "redis+sentinel://u:p@a:1,b,[::1]:2,[::1]/chat/3";
        let store = SharedStore::parse(url).expect("it is one");
        let source = Source::new(&store).expect("it is one");
        assert_eq!(source.master, "chat");
        assert_eq!(
            source.sentinels,
            [
                ("a", 1),
                ("b", SENTINEL_PORT),
                // As it is looked up: without the brackets of a URL.
                ("::1", 2),
                ("::1", SENTINEL_PORT)
            ]
            .map(|(host, port)| ConnectionAddr::Tcp(host.to_owned(), port))
        );
        let settings = source.info.redis_settings();
        assert_eq!((settings.username(), settings.db()), (Some("u"), 3));
    }
}
