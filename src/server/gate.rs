//! Who may join, and under which name: by certificate, by the server's
//! password, or by a password of the name's own.
//!
//! It runs on the threads of sessions and of questions, since a password's
//! hash is slow and large on purpose, and knows nothing of rooms.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::chat::Name;
use crate::rpc::Caller;
use crate::wire::Ending;

/// The longest password, in bytes.
const MAX_PASSWORD_BYTES: usize = 1024;

/// Hashes that are computed at the same time. Each takes the memory that its
/// line of the names file says, at most [`MAX_HASH_KIB`].
const HASHES_AT_ONCE: usize = 2;

/// Sessions that may wait for their turn to hash; more are refused, so that
/// the wait stays short.
const MAX_WAITING: usize = 64;

/// The most that a line of the names file may ask for: KiB of memory, and
/// passes over it.
const MAX_HASH_KIB: u32 = 64 * 1024;
const MAX_HASH_PASSES: u32 = 8;

/// A password that everybody must know. Only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; 32]);

impl Password {
    /// The password of these characters.
    pub fn new(password: &str) -> Self {
        Self(Sha256::digest(password.as_bytes()).into())
    }

    /// Takes the same time however much of it is right.
    fn is(&self, given: &str) -> bool {
        self.0.ct_eq(&Password::new(given).0).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Names that only those may have who know their passwords.
#[derive(Clone, Default)]
pub struct ReservedNames(HashMap<String, PasswordHash>);

/// Why a list of names is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct NamesError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl ReservedNames {
    /// Reads lines of a name, a space and an argon2 hash in the PHC form, as
    /// [`reserve`](Self::reserve) makes them. Empty lines and those that begin
    /// with `#` say nothing.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<Self, NamesError> {
        let mut names = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let fail = |why: String| NamesError { line: at + 1, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line
                .rsplit_once(char::is_whitespace)
                .ok_or_else(|| fail("it must be a name, a space and a hash".to_owned()))?;
            let name = Name::parse(name).map_err(|why| fail(why.to_string()))?;
            let hash = parse_hash(hash).map_err(|why| fail(why.to_owned()))?;
            if names.insert(name.folded(), hash).is_some() {
                return Err(fail(format!("the name «{name}» is there already")));
            }
        }
        Ok(Self(names))
    }

    /// The line that reserves a name for whoever knows this password.
    ///
    /// # Errors
    /// The line would say nothing, the password is empty or too long, or the
    /// system has no random bytes.
    pub fn reserve(name: &Name, password: &str) -> Result<String, String> {
        if name.as_str().starts_with('#') {
            return Err("a line that begins with # reserves nothing".to_owned());
        }
        match password.len() {
            0 => return Err("a password must not be empty".to_owned()),
            1..=MAX_PASSWORD_BYTES => {}
            _ => {
                return Err(format!(
                    "a password may have at most {MAX_PASSWORD_BYTES} bytes"
                ));
            }
        }
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|why| format!("cannot hash the password: {why}"))?;
        Ok(format!("{name} {hash}"))
    }
}

impl fmt::Debug for ReservedNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reserved names", self.0.len())
    }
}

fn parse_hash(text: &str) -> Result<PasswordHash, &'static str> {
    let hash = PasswordHash::new(text).map_err(|_| "its last word is no hash in the PHC form")?;
    if !hash.algorithm.as_str().starts_with("argon2") || hash.hash.is_none() {
        return Err("its hash is not one of argon2");
    }
    let params =
        Params::try_from(&hash).map_err(|_| "its hash has parameters that argon2 lacks")?;
    if params.m_cost() > MAX_HASH_KIB || params.t_cost() > MAX_HASH_PASSES {
        return Err("its hash takes more than 64 MiB or 8 passes");
    }
    Ok(hash)
}

/// Decides who gets in.
pub(super) struct Gate {
    /// Names come from certificates.
    certified: bool,
    password: Option<Password>,
    reserved: ReservedNames,
    turns: Turns,
}

impl Gate {
    pub(super) fn new(
        certified: bool,
        password: Option<Password>,
        reserved: ReservedNames,
    ) -> Self {
        Self {
            certified,
            password,
            reserved,
            turns: Turns::default(),
        }
    }

    /// Whether this caller may have this name. May take as long as a hash, and
    /// those that wait for one before it.
    pub(super) fn admit(&self, caller: &Caller, name: &Name, password: &str) -> Result<(), Ending> {
        if self.certified {
            return admit_certified(caller, name);
        }
        let Some(hash) = self.reserved.0.get(&name.folded()) else {
            return self.ask(password);
        };
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Err(Ending::Unauthenticated(format!(
                "the name «{name}» is reserved and has a password"
            )));
        }
        let _turn = self.turns.take()?;
        Argon2::default()
            .verify_password(password.as_bytes(), hash)
            .map_err(|_| Ending::Unauthenticated("the password is wrong".to_owned()))
    }

    /// Whether whoever brings this password may ask questions.
    pub(super) fn ask(&self, password: &str) -> Result<(), Ending> {
        match &self.password {
            None => Ok(()),
            Some(wanted) if wanted.is(password) => Ok(()),
            Some(_) => Err(Ending::Unauthenticated(
                match password {
                    "" => "this server has a password",
                    _ => "the password is wrong",
                }
                .to_owned(),
            )),
        }
    }
}

fn admit_certified(caller: &Caller, name: &Name) -> Result<(), Ending> {
    let names = caller.names.as_deref().unwrap_or_default();
    let is_own = |n: &String| Name::parse(n).is_ok_and(|n| n.folded() == name.folded());
    match names.iter().any(is_own) {
        true => Ok(()),
        false => Err(Ending::PermissionDenied(format!(
            "the certificate is for {}, not for «{name}»",
            match names {
                [] => "no name".to_owned(),
                names => format!("«{}»", names.join("», «")),
            }
        ))),
    }
}

/// Bounds how many hash at the same time.
#[derive(Default)]
struct Turns {
    state: Mutex<Queue>,
    one_ended: Condvar,
}

#[derive(Default)]
struct Queue {
    running: usize,
    waiting: usize,
}

/// A turn; given up when it is dropped.
struct Turn<'a>(&'a Turns);

impl Turns {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Turn<'_>, Ending> {
        let mut queue = self.queue();
        if queue.waiting >= MAX_WAITING {
            return Err(Ending::Limit(
                "too many passwords are being checked; try again".to_owned(),
            ));
        }
        queue.waiting += 1;
        while queue.running >= HASHES_AT_ONCE {
            queue = self
                .one_ended
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting -= 1;
        queue.running += 1;
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue().running -= 1;
        self.0.one_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name::parse(name).unwrap()
    }

    fn caller(names: &[&str]) -> Caller {
        Caller {
            peer: "ipv4:127.0.0.1:1".to_owned(),
            names: Some(names.iter().map(|&n| n.to_owned()).collect()),
        }
    }

    #[test]
    fn a_certificate_is_the_name() {
        let gate = Gate::new(true, None, ReservedNames::default());
        let alex = caller(&["alex", "Åse"]);
        assert_eq!(gate.admit(&alex, &name("Alex"), ""), Ok(()));
        assert_eq!(gate.admit(&alex, &name("åse"), ""), Ok(()));
        for stranger in [alex, caller(&[])] {
            let refused = gate.admit(&stranger, &name("Aske"), "").unwrap_err();
            assert!(matches!(refused, Ending::PermissionDenied(_)), "{refused}");
        }
        let nobody = Caller {
            names: None,
            ..caller(&[])
        };
        assert!(gate.admit(&nobody, &name("Aske"), "").is_err());
    }

    #[test]
    fn a_reserved_name_wants_its_own_password_and_others_the_servers() {
        let line = ReservedNames::reserve(&name("Åse Berg"), "mine").unwrap();
        let reserved = ReservedNames::parse(&format!("# names\n\n{line}\n")).unwrap();
        let gate = Gate::new(false, Some(Password::new("ours")), reserved);
        let somebody = caller(&[]);
        let admits =
            |who: &str, password: &str| gate.admit(&somebody, &name(who), password).is_ok();
        assert!(admits("ÅSE BERG", "mine"));
        assert!(!admits("Åse Berg", "ours"));
        assert!(!admits("Åse Berg", ""));
        assert!(admits("Alex", "ours"));
        assert!(!admits("Alex", "mine"));
        assert!(gate.ask("ours").is_ok() && gate.ask("").is_err());
    }

    #[test]
    fn a_line_that_reserves_no_name_is_named() {
        let good = ReservedNames::reserve(&name("Alex"), "p").unwrap();
        let (_, hash) = good.split_once(' ').unwrap();
        for (bad, why) in [
            (hash.to_owned(), "a name, a space"),
            ("Alex $argon2id$".to_owned(), "no hash"),
            (
                "Alex $scrypt$ln=1$YWJjZGVmZ2g$YWJjZGVmZ2hpag".to_owned(),
                "not one of argon2",
            ),
            (format!("Server {hash}"), "reserved"),
            (format!("{good}\nALEX {hash}"), "there already"),
            (good.replace("m=19456", "m=19456000"), "64 MiB"),
            (good.replace("t=2", "t=2000"), "8 passes"),
        ] {
            let error = ReservedNames::parse(&bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(ReservedNames::reserve(&name("Alex"), "").is_err());
        let comment = ReservedNames::reserve(&name("#1 Alex"), "p").unwrap_err();
        assert!(comment.contains("begins with #"), "{comment}");
        assert!(ReservedNames::reserve(&name("Alex"), &"x".repeat(1025)).is_err());
    }

    #[test]
    fn nobody_waits_behind_too_many() {
        let turns = Turns::default();
        let _first = turns.take().unwrap();
        let second = turns.take().unwrap();
        turns.queue().waiting = MAX_WAITING;
        assert!(matches!(turns.take(), Err(Ending::Limit(_))));
        turns.queue().waiting = 0;
        std::thread::scope(|scope| {
            let third = scope.spawn(|| turns.take().is_ok());
            while turns.queue().waiting == 0 {
                std::thread::yield_now();
            }
            drop(second);
            assert!(third.join().unwrap());
        });
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{:?}", Password::new("secret")), "Password");
    }
}
