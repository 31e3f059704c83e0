//! What comes of a command that was read back: the step that the journal gets.

use super::waiting::Answer;
use crate::chat::{Command, Deed, Done, Loss, Member, MemberKey, Room};
use crate::server::order::Seated;
use crate::server::step::{Change, Claim, Step};
use crate::wire::Ending;

/// What came of a command.
pub(super) struct Outcome {
    /// What is kept and shown, if anything is.
    pub step: Option<Step>,
    /// For a JOIN: what its session is told.
    pub answer: Option<Answer>,
}

impl Outcome {
    fn of(step: Option<Step>) -> Self {
        Self { step, answer: None }
    }
}

/// Lets a room obey a command at the Lamport time `time`. `claim` is that of
/// the session that asked to join, and `ending` that of the one that is over,
/// if it is one of this server's.
pub(super) fn obey(
    room: &mut Room,
    time: i64,
    command: &Command,
    claim: Option<Claim>,
    ending: Option<Ending>,
) -> Outcome {
    let done = room.obey(time, command);
    match (done, &command.deed) {
        (Done::Joined(Err(refused)), _) => Outcome {
            step: None,
            answer: Some(Err(refused.into())),
        },
        (Done::Joined(Ok(joined)), _) => {
            let seated = Seated {
                key: joined.key,
                id: joined.id,
                seam: joined.seam,
            };
            let change = match claim {
                Some(claim) => Change::Attach(claim.granted_to(joined.key)),
                // It may have spoken through this server until now.
                None => Change::Dismiss(joined.key, Ending::Replaced),
            };
            Outcome {
                step: Some(Step::joined(room, joined, change)),
                answer: Some(Ok(seated)),
            }
        }
        (Done::Said(said), Deed::Say { key, .. }) => {
            let Some(Member { id, name, .. }) = room.member(*key) else {
                return Outcome::of(None);
            };
            let (who, id) = (name.to_shared(), *id);
            Outcome::of(Step::of_said(room, said, *key, who, id))
        }
        (Done::Parted(Some(parted)), deed) => {
            let why = match deed {
                Deed::Leave { is_cut: false, .. } => "left",
                Deed::Leave { is_cut: true, .. } => "cut",
                _ => "expired",
            };
            let change = part(parted.key, ending);
            Outcome::of(Some(Step::parted(room, parted, why, change)))
        }
        (Done::Lost(Loss::Left(parted)), _) => {
            let change = part(parted.key, ending);
            Outcome::of(Some(Step::parted(room, parted, "lost", change)))
        }
        (Done::Lost(Loss::Away), Deed::Lose { key }) => {
            Outcome::of(Some(Step::changed(room, part(*key, ending))))
        }
        _ => Outcome::of(None),
    }
}

/// A session that is lost has ended, for a reason. If not, the others took this
/// server for dead, and its client must hear of it.
fn part(key: MemberKey, ending: Option<Ending>) -> Change {
    match ending {
        Some(ending) => Change::Detach(key, ending),
        None => Change::Dismiss(key, Ending::TakenForLost),
    }
}
