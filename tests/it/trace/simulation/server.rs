//! The server of the simulated chat.

use super::{Event, Frame, Member, NAMES, ROOMS, SERVER, Simulation, goodbye, kind};
use chitchat::trace::line::{Fields, What};

impl Simulation {
    pub(super) fn server_reads(&mut self, who: usize) {
        let Some(frame) = self.clients[who].up.pop_front() else {
            return;
        };
        let (no, secret) = (self.clients[who].room, self.clients[who].secret);
        match frame {
            Frame::Join { sent, after, last } => self.server_joins(who, sent, after, last),
            Frame::Leave { sent } => {
                if self.seat(no, who, secret).is_some() {
                    self.part(no, who, sent, "left");
                }
                self.clients[who].down.push_back(goodbye());
            }
            Frame::Say {
                sent,
                to,
                is_refused,
            } => {
                let Some(at) = self.seat(no, who, secret) else {
                    return;
                };
                let room = self.rooms.entry(no).or_default();
                if sent <= room.members[at].settled {
                    return; // it came through another connection
                }
                room.members[at].last_sent = sent;
                let recipient = to.and_then(|to| room.members.iter().find(|m| m.who == to));
                let recipient = recipient.map(|m| (m.who, m.secret));
                let is_refused = is_refused || to.is_some() != recipient.is_some();
                let what = if is_refused {
                    What::Refused
                } else {
                    What::Message
                };
                let to = recipient.filter(|_| !is_refused);
                self.stamp(no, what, (who, secret), sent, to, "");
            }
        }
    }

    fn seat(&self, room: usize, who: usize, secret: u64) -> Option<usize> {
        let members = &self.rooms.get(&room)?.members;
        members
            .iter()
            .position(|m| m.who == who && m.secret == secret)
    }

    fn server_joins(&mut self, who: usize, sent: i64, after: Option<i64>, last: Option<usize>) {
        let (no, secret) = (self.clients[who].room, self.clients[who].secret);
        let room = self.rooms.entry(no).or_default();
        let is_taken = room
            .members
            .iter()
            .any(|m| m.who == who && m.secret != secret);
        if is_taken || after.is_some_and(|after| after > room.clock) {
            let client = &mut self.clients[who];
            client.is_connected = false;
            if after.is_some_and(|after| after > room.clock) {
                (client.has_joined, client.position) = (false, 0);
            }
            return self.log(SERVER, Fields::new(What::Cut).text("why", "no"), "refused");
        }
        let visible = |e: &&Event| match (e.what, e.to) {
            (What::Refused, _) => e.secret == secret,
            (_, Some((_, to))) => e.secret == secret || to == secret,
            _ => true,
        };
        let seen: Vec<_> = room.past.iter().filter(visible).collect();
        let skipped = match (after, last) {
            (Some(after), _) => seen.iter().filter(|e| e.time <= after).count(),
            (None, last) => seen.len().saturating_sub(last.unwrap_or(0)),
        };
        let replayed = seen[skipped..].iter().map(|e| Event {
            replayed: true,
            ..(**e).clone()
        });
        let replayed: Vec<_> = replayed.collect();
        self.clients[who].down = replayed.into();
        let room = self.rooms.entry(no).or_default();
        if let Some(member) = room.members.iter_mut().find(|m| m.who == who) {
            member.is_here = true;
            member.settled = member.last_sent;
            return self.stamp(no, What::Resume, (who, secret), sent, None, "");
        }
        let last_sent = room.remembered.get(&secret).copied().unwrap_or(0);
        room.members.push(Member {
            who,
            secret,
            is_here: true,
            last_sent,
            settled: last_sent,
        });
        self.stamp(no, What::Join, (who, secret), sent, None, "");
    }

    fn part(&mut self, no: usize, who: usize, sent: i64, why: &str) {
        let room = self.rooms.entry(no).or_default();
        let at = room.members.iter().position(|m| m.who == who).unwrap();
        let Member {
            secret, last_sent, ..
        } = room.members.remove(at);
        room.remembered.insert(secret, last_sent);
        self.stamp(no, What::Leave, (who, secret), sent, None, why);
    }

    /// Stamps, keeps, logs and hands out.
    fn stamp(
        &mut self,
        no: usize,
        what: What,
        (who, secret): (usize, u64),
        sent: i64,
        to: Option<(usize, u64)>,
        why: &str,
    ) {
        let event = self.keep(no, what, (who, secret), sent, to);
        let mut line = Fields::new(what).number("L", event.time);
        if event.seq > 0 {
            line = line.number("seq", event.seq);
        }
        line = line
            .text("room", ROOMS[no])
            .text("who", NAMES[who])
            .number("sent", sent);
        if let Some((to, _)) = to {
            line = line.text("to", NAMES[to]);
        }
        if !why.is_empty() {
            line = line.text("why", why);
        }
        self.log(SERVER, line, "stamped");
        let room = self.rooms.entry(no).or_default();
        let members = room.members.iter().filter(|m| m.is_here);
        let sees = |m: &&Member| match what {
            What::Refused | What::Resume => m.secret == secret,
            _ => to.is_none_or(|(_, to)| m.secret == secret || m.secret == to),
        };
        for name in members.filter(sees).map(|m| m.who).collect::<Vec<_>>() {
            self.clients[name].down.push_back(event.clone());
            if self.tells_outboxes {
                let line = Fields::new(What::Deliver).number("of", event.time);
                let line = line.text("room", ROOMS[no]).number("seq", event.seq);
                let line = line.text("kind", kind(what)).text("by", NAMES[name]);
                self.log(SERVER, line, "put");
            }
        }
    }

    fn keep(
        &mut self,
        no: usize,
        what: What,
        (who, secret): (usize, u64),
        sent: i64,
        to: Option<(usize, u64)>,
    ) -> Event {
        let room = self.rooms.entry(no).or_default();
        room.clock = room.clock.max(sent) + 1;
        let is_for_all = to.is_none() && !matches!(what, What::Refused | What::Resume);
        room.seq += u64::from(is_for_all);
        let seq = if is_for_all { room.seq } else { 0 };
        let time = room.clock;
        let event = Event {
            what,
            time,
            seq,
            who,
            secret,
            sent,
            to,
            replayed: false,
        };
        if what != What::Resume {
            room.past.push(event.clone());
        }
        event
    }

    pub(super) fn away(&mut self, who: usize) {
        let (no, secret) = (self.clients[who].room, self.clients[who].secret);
        if let Some(at) = self.seat(no, who, secret) {
            self.rooms.entry(no).or_default().members[at].is_here = false;
            let line = Fields::new(What::Lost)
                .text("room", ROOMS[no])
                .text("who", NAMES[who]);
            self.log(SERVER, line.text("why", "broken"), "lost");
        }
    }

    pub(super) fn expire(&mut self, who: usize) {
        for no in 0..ROOMS.len() {
            let Some(room) = self.rooms.get(&no) else {
                continue;
            };
            if room.members.iter().any(|m| m.who == who && !m.is_here) {
                self.part(no, who, 0, "expired");
            }
        }
    }

    /// The server stops or is killed, and starts again.
    pub(super) fn restart_server(&mut self) {
        let is_killed = self.random.one_in(2);
        for who in 0..NAMES.len() {
            let (no, secret) = (self.clients[who].room, self.clients[who].secret);
            // What a killed server kept and did not yet log or hand out.
            if is_killed
                && self.keeps
                && let Some(&Frame::Say {
                    sent,
                    to: None,
                    is_refused: false,
                }) = self.clients[who].up.front()
                && let Some(at) = self.seat(no, who, secret)
                && sent > self.rooms[&no].members[at].settled
            {
                self.keep(no, What::Message, (who, secret), sent, None);
                self.rooms.entry(no).or_default().members[at].last_sent = sent;
            }
            let client = &mut self.clients[who];
            if client.is_running && client.is_connected {
                client.is_connected = false;
                client.is_leaving = false;
                client.up.clear();
                client.down.clear();
                if client.has_heard {
                    self.log(who, Fields::new(What::Lost).text("why", "gone"), "lost");
                }
            }
        }
        if is_killed {
            // The disk did not keep the log's last lines.
            for _ in 0..self.random.below(6) {
                let last =
                    self.logs[SERVER].pop_if(|l| !l.contains(" START ") && !l.contains(" ROOM "));
                drop(last);
            }
        } else {
            self.log(SERVER, Fields::new(What::Stop), "stopped");
        }
        self.log(
            SERVER,
            Fields::new(What::Start).text("addr", "here"),
            "running",
        );
        if !self.keeps {
            self.rooms.clear();
        }
        let clocks: Vec<_> = self
            .rooms
            .iter()
            .map(|(no, room)| (*no, room.clock))
            .collect();
        for (no, clock) in clocks {
            let line = Fields::new(What::Room)
                .number("L", clock)
                .text("room", ROOMS[no]);
            self.log(SERVER, line, "goes on");
            let room = self.rooms.entry(no).or_default();
            room.members.iter_mut().for_each(|m| m.is_here = false);
        }
    }
}
