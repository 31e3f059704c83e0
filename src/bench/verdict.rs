//! Whether everything that was sent came to everybody, once and in one order.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::client::Report;
use super::plan::Plan;
use super::run::said;
use super::witness::Faults;

/// What was wrong with what was delivered, over all clients and from the
/// warm-up on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    lost: u64,
    faults: Faults,
    /// The most different orders in one room, among clients that lost nothing.
    orders: usize,
    /// Clients whose stream ended too early, and how the first one's did.
    ended_early: u64,
    first_end: Option<String>,
    /// Clients whose stream did not end when they left.
    unended: u64,
}

impl Verdict {
    /// Judges what the clients report, where sender n sent `sent[n]` messages
    /// and so many streams did not end.
    pub(super) fn of(plan: &Plan, sent: &[u32], reports: &[Report], unended: u64) -> Self {
        let mut verdict = Self {
            unended,
            ..Self::default()
        };
        let mut orders: BTreeMap<usize, HashSet<u64>> = BTreeMap::new();
        let early = reports.iter().filter(|report| report.early);
        verdict.ended_early = early.clone().count() as u64;
        verdict.first_end = early.map(|report| said(&report.end)).next();
        for report in reports {
            verdict.faults.add(&report.faults);
            if report.client >= plan.active() {
                continue;
            }
            let room = plan.room_of(report.client);
            let of_room = sent.iter().skip(room).step_by(plan.rooms);
            let lost: u64 = of_room
                .zip(&report.counts)
                .map(|(&sent, &came)| u64::from(sent.saturating_sub(came)))
                .sum();
            verdict.lost += lost;
            if lost == 0 {
                orders.entry(room).or_default().insert(report.order);
            }
        }
        verdict.orders = orders.values().map(HashSet::len).max().unwrap_or(0);
        verdict
    }

    /// Whether there was nothing wrong.
    pub fn is_clean(&self) -> bool {
        self.words().is_empty()
    }

    /// What was wrong, a phrase for each kind of fault.
    pub fn words(&self) -> Vec<String> {
        let faults = &self.faults;
        let counted = [
            (self.lost, "lost"),
            (faults.repeated, "repeated"),
            (faults.out_of_order, "out of order"),
            (faults.numbering, "out of the room's numbering"),
            (faults.clock, "not after their send by Lamport time"),
            (faults.refused, "refused"),
            (faults.strayed, "in another room"),
        ];
        let mut words: Vec<_> = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if self.orders > 1 {
            words.push(format!("{} different orders in one room", self.orders));
        }
        if let Some(end) = &self.first_end {
            words.push(format!("{} ended early: {end}", self.ended_early));
        }
        if self.unended > 0 {
            words.push(format!("{} did not end", self.unended));
        }
        words
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "clean": self.is_clean(),
            "lost": self.lost,
            "repeated": self.faults.repeated,
            "out_of_order": self.faults.out_of_order,
            "numbering": self.faults.numbering,
            "clock": self.faults.clock,
            "refused": self.faults.refused,
            "strayed": self.faults.strayed,
            "orders": self.orders,
            "ended_early": self.ended_early,
            "first_end": self.first_end,
            "unended": self.unended,
        })
    }
}
