//! Whether what is not for all reached somebody else.

use super::{Findings, Law};
use crate::trace::line::What;
use crate::trace::log::{Entry, Process};
use crate::trace::names::{NO_NAME, NameId};
use crate::trace::order::{NONE, Trace};

/// Whether what the server stamped may be seen by this participant.
pub(super) fn may_see(trace: &Trace, said: &Entry, name: NameId) -> bool {
    let is = |other| trace.log.names.same(other, name);
    match said.what {
        What::Refused | What::Resume => is(said.who),
        What::Message => said.to == NO_NAME || is(said.who) || is(said.to),
        _ => true,
    }
}

/// What is wrong if it may not.
pub(super) fn told_the_wrong_one(trace: &Trace, said: &Entry, name: NameId) -> String {
    let name = trace.log.names.text(name);
    match said.what {
        What::Refused => format!("a refusal to somebody else reached {name}"),
        What::Resume => format!("the receipt of somebody else's return reached {name}"),
        _ => format!("a private message between others reached {name}"),
    }
}

pub(super) fn try_arrivals(trace: &Trace, findings: &mut Findings) {
    for visit in &trace.visits {
        let Process::Client(name) = trace.log.runs[visit.run as usize].process else {
            continue;
        };
        for &arrival in &visit.arrivals {
            let cause = trace.cause[arrival as usize];
            let (said, lines) = match cause {
                // What matches nothing still says for whom it is.
                NONE => (arrival, vec![arrival]),
                _ if cause as usize >= trace.told => (cause, vec![arrival]),
                _ => (cause, vec![cause, arrival]),
            };
            let mut said = trace.log.entries[said as usize];
            if said.what == What::Deliver {
                said.what = What::Message;
            } else if cause == NONE || !trace.is_placed(arrival, visit.epoch) {
                continue; // whose refusal it is cannot be told
            }
            findings.tried(Law::ForWhom);
            if !may_see(trace, &said, name) {
                findings.broken(Law::ForWhom, &lines, || {
                    told_the_wrong_one(trace, &said, name)
                });
            }
        }
    }
}
