//! What a client got as one participant of a room: a visit that began with a
//! joining, and those that went on with it after a loss.

use super::log::{NameId, Process};
use super::order::Trace;

/// The visits of one participant, in order.
#[derive(Debug)]
pub struct Stream {
    /// Its participant's name, folded.
    pub name: NameId,
    /// The room's epoch, if it can be told.
    pub epoch: Option<u32>,
    /// Which of the trace's visits.
    pub visits: Vec<u32>,
}

impl Stream {
    /// What arrived, in order.
    pub fn arrivals<'a>(&'a self, trace: &'a Trace) -> impl Iterator<Item = u32> + 'a {
        let visits = self.visits.iter().map(|v| &trace.visits[*v as usize]);
        visits.flat_map(|visit| visit.arrivals.iter().copied())
    }

    /// The room's Lamport time at which it first was told that it is in.
    pub fn in_since(&self, trace: &Trace) -> Option<i64> {
        let mut visits = self.visits.iter().map(|v| &trace.visits[*v as usize]);
        let receipt = visits.find_map(|visit| visit.receipt)?;
        Some(trace.log.entries[receipt as usize].of)
    }
}

/// Joins the visits to streams.
pub fn streams(trace: &Trace) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    // For each room of the present run the stream that may go on, and visits
    // that brought something but no receipt: the connection broke too early.
    let mut open: std::collections::HashMap<NameId, (usize, Vec<u32>)> = Default::default();
    let mut run = None;
    for (at, visit) in (0u32..).zip(&trace.visits) {
        if run != Some(visit.run) {
            run = Some(visit.run);
            open.clear();
        }
        let known = open.get_mut(&visit.room);
        let goes_on = visit.is_resumed(&trace.log);
        match known {
            Some((_, early)) if visit.receipt.is_none() => early.push(at),
            Some((stream, early))
                if goes_on && visit.epoch.is_some() && streams[*stream].epoch == visit.epoch =>
            {
                let same = |v: &u32| trace.visits[*v as usize].epoch == visit.epoch;
                let early = std::mem::take(early).into_iter().filter(same);
                streams[*stream].visits.extend(early.chain([at]));
            }
            _ => {
                let Process::Client(name) = trace.log.runs[visit.run as usize].process else {
                    continue;
                };
                streams.push(Stream {
                    name: trace.log.names.folded(name),
                    epoch: visit.epoch,
                    visits: vec![at],
                });
                open.insert(visit.room, (streams.len() - 1, Vec::new()));
            }
        }
    }
    streams
}
