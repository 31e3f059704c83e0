//! The laws that every run of a chat keeps, each with its name, and what
//! breaks them.

mod answers;
mod audience;
mod clocks;
mod outboxes;
mod presence;
mod roster;
mod streams;

use super::order::{Stray, Trace};

/// A law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// A process's own times strictly rise.
    OwnTimes,
    /// Lamport's clock condition.
    ClockCondition,
    /// One order for all.
    OneOrder,
    /// No gap and no repeat.
    NoGap,
    /// What arrives was said.
    NothingFromNowhere,
    /// Joining and leaving.
    JoinedAndLeft,
    /// Refusals and private messages.
    ForWhom,
}

impl Law {
    /// Every law, in the order in which they are told.
    pub const ALL: [Law; 7] = [
        Law::OwnTimes,
        Law::ClockCondition,
        Law::OneOrder,
        Law::NoGap,
        Law::NothingFromNowhere,
        Law::JoinedAndLeft,
        Law::ForWhom,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Law::OwnTimes => "own times rise",
            Law::ClockCondition => "clock condition",
            Law::OneOrder => "one order",
            Law::NoGap => "no gap, no repeat",
            Law::NothingFromNowhere => "nothing from nowhere",
            Law::JoinedAndLeft => "joined and left",
            Law::ForWhom => "for whom it is",
        }
    }

    /// What it says.
    pub fn says(self) -> &'static str {
        match self {
            Law::OwnTimes => {
                "the Lamport times of a process strictly rise; the server has a clock for each room"
            }
            Law::ClockCondition => "if a happened before b, then L(a) < L(b)",
            Law::OneOrder => {
                "whoever gets two events gets them in the order of the room's L, and what one sends is stamped in the order in which it is sent"
            }
            Law::NoGap => {
                "a room's numbers rise by one, from joining to leaving a participant gets each once, and each that it sends is stamped once"
            }
            Law::NothingFromNowhere => {
                "what arrives was stamped, and what was stamped was sent, word for word"
            }
            Law::JoinedAndLeft => {
                "joining and leaving are said once, to those who are there, when they are there"
            }
            Law::ForWhom => {
                "a refusal reaches its sender and nobody else, a private message its two"
            }
        }
    }
}

/// A law is broken, and this shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which law.
    pub law: Law,
    /// The events that show it, as few as possible, by their place among the
    /// trace's entries.
    pub lines: Vec<u32>,
    /// What is wrong with them.
    pub why: String,
}

/// What was found about one law.
#[derive(Debug, Default, Clone)]
pub struct Finding {
    /// How often it was tried.
    pub tried: usize,
    /// How often it was broken.
    pub broken: usize,
    /// The violation with the fewest lines, of those the first.
    pub smallest: Option<Violation>,
}

/// What was found about every law.
#[derive(Debug, Default, Clone)]
pub struct Findings([Finding; Law::ALL.len()]);

impl Findings {
    /// Tries every law.
    pub fn of(trace: &Trace) -> Self {
        let mut findings = Self::default();
        clocks::try_own_times(trace, &mut findings);
        clocks::try_condition(trace, &mut findings);
        let presences = presence::Presences::of(trace);
        let answers = answers::Answers::of(trace);
        answers.try_sends(trace, &presences, &mut findings);
        answers::Answers::try_repeats(trace, &mut findings);
        let personal = streams::personal(trace);
        streams::try_streams(trace, &presences, &answers, &personal, &mut findings);
        roster::try_rooms(trace, &mut findings);
        audience::try_arrivals(trace, &mut findings);
        outboxes::try_outboxes(trace, &presences, &personal, &mut findings);
        try_strays(trace, &mut findings);
        findings
    }

    /// What was found about a law.
    pub fn about(&self, law: Law) -> &Finding {
        &self.0[law as usize]
    }

    /// The violations, one a law.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter().filter_map(|f| f.smallest.as_ref())
    }

    fn tried(&mut self, law: Law) {
        self.0[law as usize].tried += 1;
    }

    /// Counts a violation that is like one that is told.
    fn broken_again(&mut self, law: Law) {
        self.0[law as usize].broken += 1;
    }

    fn broken(&mut self, law: Law, lines: &[u32], why: impl FnOnce() -> String) {
        let finding = &mut self.0[law as usize];
        finding.broken += 1;
        let smallest = finding.smallest.as_ref();
        if smallest.is_none_or(|known| lines.len() < known.lines.len()) {
            let (lines, why) = (lines.to_vec(), why());
            finding.smallest = Some(Violation { law, lines, why });
        }
    }
}

/// What was found wrong while sends, stamps and arrivals were matched.
fn try_strays(trace: &Trace, findings: &mut Findings) {
    let matched = trace.cause.iter().filter(|c| **c != super::order::NONE);
    findings.0[Law::NothingFromNowhere as usize].tried += matched.count() + trace.strays.len();
    let entry = |node: u32| &trace.log.entries[node as usize];
    for stray in &trace.strays {
        let law = Law::NothingFromNowhere;
        match *stray {
            Stray::Unsaid(arrival) => findings.broken(law, &[arrival], || {
                format!("the server stamped nothing with L={}", entry(arrival).of)
            }),
            Stray::Altered { arrival, said } => findings.broken(law, &[said, arrival], || {
                format!(
                    "what arrived as L={} is not what was stamped",
                    entry(arrival).of
                )
            }),
            Stray::TwoAtOnce(first, second) => {
                findings.broken(Law::OneOrder, &[first, second], || {
                    format!("two events have the one place L={}", entry(first).of)
                });
            }
            Stray::NeverSent(stamped) => findings.broken(law, &[stamped], || {
                format!(
                    "its sender's log has no send with L={}",
                    entry(stamped).sent
                )
            }),
            Stray::AlteredSend { send, stamped } => {
                findings.broken(law, &[send, stamped], || {
                    "what was stamped is not what was sent".to_owned()
                });
            }
            Stray::Published { send, stamped } => {
                findings.broken(Law::ForWhom, &[send, stamped], || {
                    "a private message was stamped for everybody".to_owned()
                });
            }
            Stray::StampedTwice { first, second } => {
                findings.broken(Law::NoGap, &[first, second], || {
                    "one send was stamped twice".to_owned()
                });
            }
        }
    }
}
