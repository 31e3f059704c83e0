//! Which servers live: each renews a key with a time limit.

use std::time::Duration;

use redis::{Connection, RedisError, Script};

use super::{LOG, SharedError, SharedLog, connected};
use crate::chat::ServerNo;

const SERVERS: &str = "chitchat:servers";

/// Where a server's lease is.
pub(super) fn lease(server: ServerNo) -> String {
    format!("chitchat:server:{server}")
}

/// Takes the next number for a server, and a lease on it that bears this token.
pub(super) fn enter(
    connection: &mut Connection,
    time: Duration,
    token: &str,
) -> Result<ServerNo, RedisError> {
    let server = redis::cmd("HINCRBY")
        .arg(&[LOG, "servers", "1"])
        .query(connection)?;
    redis::pipe()
        .cmd("SET")
        .arg(lease(server))
        .arg(token)
        .arg("PX")
        .arg(time.as_millis() as u64)
        .cmd("SADD")
        .arg(SERVERS)
        .arg(server)
        .exec(connection)?;
    Ok(server)
}

/// Renews this server's lease, and knows of the others'.
pub struct Leases {
    log: SharedLog,
    connection: Option<Connection>,
    renew: Script,
}

/// Which servers there are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Census {
    /// Those whose leases hold, this one among them.
    pub live: Vec<ServerNo>,
    /// Those whose leases have ended, and of whom something may be left.
    pub dead: Vec<ServerNo>,
    /// Whether this server's lease had ended: others may have taken it for
    /// dead.
    pub was_late: bool,
}

impl Leases {
    /// For the server that shares this log.
    pub fn new(log: SharedLog) -> Self {
        Self {
            log,
            connection: None,
            renew: Script::new(include_str!("renew.lua")),
        }
    }

    /// Renews the lease, and looks at the others'.
    ///
    /// # Errors
    /// What Redis says; [`SharedError::Replaced`] if the log is gone,
    /// [`SharedError::NumberTaken`] if another has this server's number.
    pub fn renew(&mut self) -> Result<Census, SharedError> {
        let census = self.try_renew();
        if census.is_err() {
            self.connection = None;
        }
        census
    }

    fn try_renew(&mut self) -> Result<Census, SharedError> {
        let connection = connected(&self.log, &mut self.connection)?;
        self.log.recognise(connection)?;
        let found: Vec<u32> = self
            .renew
            .key(SERVERS)
            .key(LOG)
            .arg(self.log.server)
            .arg(self.log.store.lease.as_millis() as u64)
            .arg(&self.log.token)
            .invoke(connection)?;
        let mut census = Census {
            was_late: found.first() == Some(&0),
            ..Census::default()
        };
        for server in found.get(1..).unwrap_or_default().chunks_exact(2) {
            match server[1] {
                0 => census.dead.push(server[0]),
                _ => census.live.push(server[0]),
            }
        }
        Ok(census)
    }

    /// Forgets a dead server of which nothing is left.
    ///
    /// # Errors
    /// What Redis says.
    pub fn forget(&mut self, server: ServerNo) -> Result<(), SharedError> {
        if let Some(connection) = &mut self.connection {
            redis::cmd("SREM")
                .arg(SERVERS)
                .arg(server)
                .exec(connection)?;
        }
        Ok(())
    }

    /// Ends this server's lease at once: the others take over what is left of
    /// it.
    ///
    /// # Errors
    /// What Redis says; then the lease ends by itself.
    pub fn give_up(&mut self) -> Result<(), SharedError> {
        let given = connected(&self.log, &mut self.connection).and_then(|connection| {
            let lease = lease(self.log.server);
            Ok(redis::cmd("DEL").arg(lease).exec(connection)?)
        });
        if given.is_err() {
            self.connection = None;
        }
        given
    }
}
