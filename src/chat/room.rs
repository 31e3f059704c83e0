//! A room: its clock, its order and who is in it.
//!
//! Every method that makes an event gives it the room's next Lamport time, so
//! whoever hands events on must do so under the lock under which it called:
//! the order of the stamps is the order that everybody sees.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::answer::{Ask, Joined, Loss, Parted, Refused, Said};
use super::clock::LamportClock;
use super::event::{Audience, Event, Kind, MemberKey, RoomId, SERVER_ID, SERVER_NAME};
use super::member::{Member, Presence, RememberedMember, Secret, SessionNo, StoredMember};
use super::name::{MAX_NAME_CHARS, Name};
use super::text::check_text;

/// How many participants that left a room remembers where nothing else is set,
/// so that what they send again after a long absence is recognised. The longest
/// gone are forgotten.
pub const MAX_REMEMBERED: usize = 1024;

/// What a store remembers of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// Which room.
    pub id: RoomId,
    /// Lamport time of its last event, refusals included.
    pub clock: i64,
    /// Number of its last event that all saw.
    pub seq: u64,
    /// Who was in it, and who is remembered.
    pub members: Vec<StoredMember>,
}

/// A room.
#[derive(Debug)]
pub struct Room {
    id: Arc<RoomId>,
    clock: LamportClock,
    seq: u64,
    members: HashMap<MemberKey, Member>,
    names: HashMap<String, MemberKey>,
    ids: HashSet<i32>,
    secrets: HashMap<Secret, MemberKey>,
    remembered: HashMap<Secret, RememberedMember>,
    /// The longest gone first. With the key, since an older participant may
    /// have had the same secret: one that was forgotten while its row was kept.
    remembered_order: VecDeque<(Secret, MemberKey)>,
    most_remembered: usize,
    /// Whether the place of what happens now was given by somebody else.
    is_placed: bool,
    /// The highest Lamport time of any room that it was told of.
    elsewhere: i64,
}

impl Room {
    /// A room as it was left, that is to remember so many: those who were in it
    /// are awaited. Whoever it remembers beyond that is forgotten together with
    /// the next that leaves, so that a store hears of it.
    pub fn restore(stored: StoredRoom, most_remembered: usize) -> Self {
        let mut room = Self::empty(stored.id, stored.clock, stored.seq, most_remembered);
        for m in stored.members {
            if m.present {
                room.enter(Member {
                    key: m.key,
                    id: m.id,
                    name: m.name,
                    secret: m.secret,
                    joined: m.joined,
                    last_sent: m.last_sent,
                    settled: m.last_sent,
                    presence: Presence::Away(0),
                });
            } else if let Some(secret) = m.secret {
                room.remember(
                    secret,
                    RememberedMember {
                        key: m.key,
                        last_sent: m.last_sent,
                    },
                );
            }
        }
        room
    }

    /// A room with nobody in it or remembered.
    fn empty(id: RoomId, clock: i64, seq: u64, most_remembered: usize) -> Self {
        Self {
            id: Arc::new(id),
            clock: LamportClock::at(clock),
            seq,
            members: HashMap::new(),
            names: HashMap::new(),
            ids: HashSet::new(),
            secrets: HashMap::new(),
            remembered: HashMap::new(),
            remembered_order: VecDeque::new(),
            most_remembered,
            is_placed: false,
            elsewhere: 0,
        }
    }

    /// A room in which nothing has happened yet.
    pub fn new(id: RoomId) -> Self {
        Self::empty(id, 0, 0, MAX_REMEMBERED)
    }

    /// Sets how many participants that left it remembers, from the next that
    /// leaves on.
    pub fn remember_at_most(&mut self, participants: usize) {
        self.most_remembered = participants;
    }

    /// Which room.
    pub fn id(&self) -> &Arc<RoomId> {
        &self.id
    }

    /// Lamport time of the last event.
    pub fn clock(&self) -> i64 {
        self.clock.now()
    }

    /// Who is in the room, those included who are expected back.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A participant, if it is in the room.
    pub fn member(&self, key: MemberKey) -> Option<&Member> {
        self.members.get(&key)
    }

    /// Does `deed`, of which at most one event comes, at the Lamport time
    /// `time`: for a room whose order is made elsewhere. The clock stands there
    /// afterwards even if no event came of it. `time` must lie past the clock.
    ///
    /// Whoever chose `time` has judged what the deed's sender says of its own
    /// clock by the rule of [`LamportClock::accepts`]: a time that was
    /// accepted lies before `time`, and any other does not count.
    pub fn at<T>(&mut self, time: i64, deed: impl FnOnce(&mut Self) -> T) -> T {
        self.clock = LamportClock::at(time - 1);
        self.is_placed = true;
        let done = deed(self);
        self.is_placed = false;
        self.clock = LamportClock::at(time);
        done
    }

    /// Whether a received time is one that an honest process can have sent: see
    /// [`LamportClock::accepts`].
    pub fn accepts(&self, sent: i64) -> bool {
        match self.is_placed {
            true => (0..=self.clock.now()).contains(&sent),
            false => self.clock.accepts(sent) || LamportClock::at(self.elsewhere).accepts(sent),
        }
    }

    /// Some room is at this Lamport time. Whoever is in several rooms has one
    /// clock for all of them, so what it sends here may be later than that.
    pub fn hear_of(&mut self, time: i64) {
        self.elsewhere = self.elsewhere.max(time);
    }

    /// Lets a client in: as the participant that it was, if its secret says
    /// so, or as a new one.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub fn join(&mut self, ask: Ask, wall_ms: i64) -> Result<Joined, Refused> {
        if let Some((key, id)) = self.admit(&ask)? {
            return Ok(self.resume(key, id, &ask, wall_ms));
        }
        let id = if ask.id == SERVER_ID {
            self.free_id(ask.fresh)
        } else {
            ask.id
        };
        let known = ask.secret.and_then(|s| self.remembered.remove(&s));
        if known.is_some() {
            self.remembered_order
                .retain(|(s, _)| Some(*s) != ask.secret);
        }
        let (key, last_sent) = known.map_or((ask.fresh, 0), |k| (k.key, k.last_sent));
        let seam = self.clock.now();
        let time = self.clock.witness(ask.sent);
        let event = self.announce(time, Kind::Join, id, &ask.name, "joined", ask.sent, wall_ms);
        self.enter(Member {
            key,
            id,
            name: ask.name,
            secret: ask.secret,
            joined: time,
            last_sent,
            settled: last_sent,
            presence: Presence::Here(ask.session),
        });
        Ok(Joined {
            key,
            id,
            seam,
            event,
            audience: Audience::Room,
            resumed: false,
        })
    }

    /// Whether a client would be let in, and as which present participant.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, ask: &Ask) -> Result<Option<(MemberKey, i32)>, Refused> {
        if !self.accepts(ask.sent) {
            return Err(Refused::Time(ask.sent));
        }
        let holder = self.names.get(&ask.name.folded());
        let same = ask.secret.and_then(|s| self.secrets.get(&s));
        if let Some(member) = same.and_then(|key| self.members.get(key)) {
            return match holder == Some(&member.key) {
                true => Ok(Some((member.key, member.id))),
                false => Err(Refused::OtherName(member.name.clone(), self.id.shown())),
            };
        }
        if holder.is_some() {
            return Err(Refused::NameTaken(ask.name.clone(), self.id.shown()));
        }
        if ask.id != SERVER_ID && self.ids.contains(&ask.id) {
            return Err(Refused::IdTaken(ask.id, self.id.shown()));
        }
        Ok(None)
    }

    /// Whom a secret belongs to, in the room or remembered.
    pub fn owner_of(&self, secret: &Secret) -> Option<MemberKey> {
        let remembered = || self.remembered.get(secret).map(|m| m.key);
        self.secrets.get(secret).copied().or_else(remembered)
    }

    fn resume(&mut self, key: MemberKey, id: i32, ask: &Ask, wall_ms: i64) -> Joined {
        let seam = self.clock.now();
        let time = self.clock.witness(ask.sent);
        let place = self.id.shown();
        // As all others know it, and as its echoes will be called.
        let mut name = ask.name.clone();
        if let Some(member) = self.members.get_mut(&key) {
            member.presence = Presence::Here(ask.session);
            member.settled = member.last_sent;
            name = member.name.clone();
        }
        let event = Event {
            time,
            seq: 0,
            kind: Kind::Join,
            sender_id: id,
            sender: name.to_shared(),
            text: format!("Participant {name} resumed {place} at logical time L={time}"),
            sent: ask.sent,
            wall_ms,
            to: None,
        };
        Joined {
            key,
            id,
            seam,
            event,
            audience: Audience::One(key),
            resumed: true,
        }
    }

    /// Stamps what a participant says through `session`, to the room or, with
    /// `to`, to the one participant of that name.
    pub fn say(
        &mut self,
        key: MemberKey,
        session: SessionNo,
        text: impl Into<String>,
        to: &str,
        sent: i64,
        wall_ms: i64,
    ) -> Said {
        // What an earlier stream of the same participant still brings is sent
        // again through its present one, if it has no echo yet.
        let here = |m: &&mut Member| m.presence == Presence::Here(session);
        let is_accepted = self.accepts(sent);
        let Some(member) = self.members.get_mut(&key).filter(here) else {
            return Said::Superseded;
        };
        if !is_accepted {
            let text = format!("Timestamp {sent} is out of range.");
            return self.refuse(key, text, 0, wall_ms);
        }
        if member.secret.is_some() {
            // At 0 nothing was ever sent, so nothing can be known of it.
            if (1..=member.settled).contains(&sent) {
                let text = Said::words_of_repeated(sent);
                return Said::Repeated(self.refusal(text, sent, wall_ms));
            }
            if sent <= member.last_sent {
                let text = format!("Timestamp {sent} does not rise above {}.", member.last_sent);
                return self.refuse(key, text, 0, wall_ms);
            }
        }
        member.last_sent = sent;
        let (id, name) = (member.id, member.name.clone());
        let raw = text.into();
        let text = match check_text(&raw) {
            Ok(text) if text.len() == raw.len() => raw,
            Ok(text) => text.to_owned(),
            Err(why) => return self.refuse(key, why.to_string(), sent, wall_ms),
        };
        let recipient = match to.trim() {
            // White space is no name, but not nothing either.
            "" if to.is_empty() => None,
            // Not repeated: what a refusal holds is kept, like any event.
            to if to.chars().count() > MAX_NAME_CHARS => {
                let text = format!("A name has at most {MAX_NAME_CHARS} characters.");
                return self.refuse(key, text, sent, wall_ms);
            }
            to => match self
                .names
                .get(&to.to_lowercase())
                .and_then(|k| self.members.get(k))
            {
                Some(member) => Some((member.key, member.name.clone())),
                None => {
                    let text = format!("There is no participant «{}» here.", super::sanitise(to));
                    return self.refuse(key, text, sent, wall_ms);
                }
            },
        };
        let time = self.clock.witness(sent);
        let (seq, audience) = match &recipient {
            None => (self.next_seq(), Audience::Room),
            Some((to, _)) => (0, Audience::Two(key, *to)),
        };
        let event = Event {
            time,
            seq,
            kind: Kind::Message,
            sender_id: id,
            sender: name.to_shared(),
            text,
            sent,
            wall_ms,
            to: recipient.map(|(_, name)| name.to_shared()),
        };
        Said::Stamped(event, audience)
    }

    /// Takes out a participant that says goodbye through `session`. Nothing
    /// happens if it speaks through another one by now.
    pub fn leave(
        &mut self,
        key: MemberKey,
        session: SessionNo,
        sent: i64,
        wall_ms: i64,
    ) -> Option<Parted> {
        (self.members.get(&key)?.presence == Presence::Here(session)).then_some(())?;
        self.part(key, if self.accepts(sent) { sent } else { 0 }, wall_ms)
    }

    /// Says that `session` is lost. A participant with a secret may resume;
    /// any other has left.
    pub fn lose(&mut self, key: MemberKey, session: SessionNo, wall_ms: i64) -> Loss {
        match self.members.get_mut(&key) {
            Some(m) if m.presence == Presence::Here(session) => {
                m.presence = Presence::Away(session);
                if m.secret.is_some() {
                    return Loss::Away;
                }
                self.part(key, 0, wall_ms).map_or(Loss::None, Loss::Left)
            }
            _ => Loss::None,
        }
    }

    /// Takes out a participant that lost `session` and did not resume.
    pub fn expire(&mut self, key: MemberKey, session: SessionNo, wall_ms: i64) -> Option<Parted> {
        (self.members.get(&key)?.presence == Presence::Away(session)).then_some(())?;
        self.part(key, 0, wall_ms)
    }

    fn part(&mut self, key: MemberKey, sent: i64, wall_ms: i64) -> Option<Parted> {
        let member = self.members.remove(&key)?;
        self.names.remove(&member.name.folded());
        self.ids.remove(&member.id);
        if let Some(secret) = &member.secret {
            self.secrets.remove(secret);
        }
        let time = self.clock.witness(sent);
        let event = self.announce(
            time,
            Kind::Leave,
            member.id,
            &member.name,
            "left",
            sent,
            wall_ms,
        );
        if let Some(secret) = member.secret {
            let last_sent = member.last_sent;
            self.remember(secret, RememberedMember { key, last_sent });
        }
        Some(Parted {
            key,
            event,
            remembered: member.secret.is_some(),
            forgotten: self.forget(),
        })
    }

    fn refuse(&mut self, key: MemberKey, text: String, sent: i64, wall_ms: i64) -> Said {
        Said::Refused(self.refusal(text, sent, wall_ms), Audience::One(key))
    }

    fn refusal(&mut self, text: String, sent: i64, wall_ms: i64) -> Event {
        Event {
            time: self.clock.witness(sent),
            seq: 0,
            kind: Kind::Refusal,
            sender_id: SERVER_ID,
            sender: SERVER_NAME.into(),
            text,
            sent,
            wall_ms,
            to: None,
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of an event, once
    fn announce(
        &mut self,
        time: i64,
        kind: Kind,
        id: i32,
        name: &Name,
        did: &str,
        sent: i64,
        wall_ms: i64,
    ) -> Event {
        Event {
            time,
            seq: self.next_seq(),
            kind,
            sender_id: id,
            sender: name.to_shared(),
            text: format!(
                "Participant {name} {did} {} at logical time L={time}",
                self.id.shown()
            ),
            sent,
            wall_ms,
            to: None,
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn enter(&mut self, member: Member) {
        self.names.insert(member.name.folded(), member.key);
        self.ids.insert(member.id);
        if let Some(secret) = member.secret {
            self.secrets.insert(secret, member.key);
        }
        self.members.insert(member.key, member);
    }

    fn remember(&mut self, secret: Secret, member: RememberedMember) {
        self.remembered_order.push_back((secret, member.key));
        self.remembered.insert(secret, member);
    }

    /// Forgets the longest gone of those who are too many.
    fn forget(&mut self) -> Vec<MemberKey> {
        let too_many = (self.remembered_order.len()).saturating_sub(self.most_remembered);
        let oldest = self.remembered_order.drain(..too_many);
        oldest
            .map(|(secret, key)| {
                if self.remembered.get(&secret).is_some_and(|m| m.key == key) {
                    self.remembered.remove(&secret);
                }
                key
            })
            .collect()
    }

    fn free_id(&self, key: MemberKey) -> i32 {
        let first = (key.0 % (i32::MAX as u64)) as i32;
        (0..=i32::MAX)
            .map(|n| first.wrapping_add(n) & i32::MAX)
            .find(|id| *id != SERVER_ID && !self.ids.contains(id))
            .unwrap_or(i32::MIN)
    }
}

mod snapshot;
#[cfg(test)]
mod tests;

pub use snapshot::RoomSnapshot;
