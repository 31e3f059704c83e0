//! What a client got as one participant of a room: a visit that began with a
//! joining, and those that went on with it after a loss.

use std::collections::HashMap;

use super::log::Process;
use super::names::{NO_NAME, NameId};
use super::order::Trace;

/// The visits of one participant, in order.
#[derive(Debug)]
pub struct Stream {
    /// Its participant's name, folded.
    pub name: NameId,
    /// Its participant's name, as it is written.
    pub written: NameId,
    /// The room's epoch, if it can be told.
    pub epoch: Option<u32>,
    /// Which of the trace's visits.
    pub visits: Vec<u32>,
}

impl Stream {
    fn begin(trace: &Trace, at: u32) -> Self {
        let visit = &trace.visits[at as usize];
        let name = match trace.log.runs[visit.run as usize].process {
            Process::Client(name) => name,
            Process::Server => NO_NAME, // the server visits nobody
        };
        Self {
            name: trace.log.names.folded(name),
            written: name,
            epoch: visit.epoch,
            visits: vec![at],
        }
    }

    /// What arrived, in order.
    pub fn arrivals<'a>(&'a self, trace: &'a Trace) -> impl Iterator<Item = u32> + 'a {
        let visits = self.visits.iter().map(|v| &trace.visits[*v as usize]);
        visits.flat_map(|visit| visit.arrivals.iter().copied())
    }

    /// What told it that it is in the room, or in it again, in order.
    pub fn receipts<'a>(&'a self, trace: &'a Trace) -> impl Iterator<Item = u32> + 'a {
        let visits = self.visits.iter().map(|v| &trace.visits[*v as usize]);
        visits.filter_map(|visit| visit.receipt)
    }
}

/// Joins the visits to streams.
pub fn streams(trace: &Trace) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    // For each room of the present run the stream that may go on, and visits
    // that brought something but no receipt: the connection broke too early.
    let mut open: HashMap<NameId, (usize, Vec<u32>)> = HashMap::new();
    let mut alone = Vec::new();
    let mut run = None;
    for (at, visit) in (0u32..).zip(&trace.visits) {
        if run.replace(visit.run) != Some(visit.run) {
            alone.extend(open.drain().flat_map(|(_, (_, early))| early));
        }
        // A visit of which nobody knows the epoch goes on with nothing.
        let goes_on = visit.receipt.is_none() || visit.is_resumed(&trace.log);
        let known = open.get_mut(&visit.room);
        let known = known.filter(|(stream, _)| {
            goes_on && visit.epoch.is_some() && streams[*stream].epoch == visit.epoch
        });
        match known {
            Some((_, early)) if visit.receipt.is_none() => early.push(at),
            Some((stream, early)) => {
                streams[*stream].visits.append(early);
                streams[*stream].visits.push(at);
            }
            None => {
                streams.push(Stream::begin(trace, at));
                let opened = (streams.len() - 1, Vec::new());
                let closed = open.insert(visit.room, opened);
                alone.extend(closed.into_iter().flat_map(|(_, early)| early));
            }
        }
    }
    alone.extend(open.into_values().flat_map(|(_, early)| early));
    alone.sort_unstable();
    streams.extend(alone.into_iter().map(|at| Stream::begin(trace, at)));
    streams
}
