//! A lane: the pumps of one poll thread that have something to send.
//!
//! To call a poll thread costs an operation of gRPC's core, about as much as
//! half a frame. So whoever has something for many members puts their pumps
//! into the lanes of their poll threads, and calls each thread once: through
//! the task of the first member, which then runs all pumps of its lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::pump::Pump;

thread_local! {
    static HERE: Arc<Lane> = Arc::new(Lane::new());
}

pub(super) struct Lane {
    end: Sender<Arc<dyn Pump>>,
    waiting: Receiver<Arc<dyn Pump>>,
    /// Whether somebody sees to it that [`run`](Self::run) will be called.
    called: AtomicBool,
}

impl Lane {
    fn new() -> Self {
        let (end, waiting) = unbounded();
        Self {
            end,
            waiting,
            called: AtomicBool::new(false),
        }
    }

    /// The lane of this thread.
    pub(super) fn here() -> Arc<Self> {
        HERE.with(Arc::clone)
    }

    /// Adds a pump, which is not in it. Returns whether the caller is to see to
    /// it that the lane is run after this.
    pub(super) fn add(&self, pump: Arc<dyn Pump>) -> bool {
        let _ = self.end.send(pump); // both ends are here
        !self.called.swap(true, Ordering::SeqCst)
    }

    /// Runs the pumps that wait. More than one thread may do so at once.
    pub(super) fn run(&self) {
        // First, so that who adds one after it has been looked for calls again.
        self.called.store(false, Ordering::SeqCst);
        while let Ok(pump) = self.waiting.try_recv() {
            pump.run();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counted(AtomicUsize);

    impl Pump for Counted {
        fn run(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn no_pump_stays_behind() {
        const ROUNDS: usize = 100_000;
        let (lane, pump) = (Lane::new(), Arc::new(Counted(AtomicUsize::new(0))));
        let (call, called) = unbounded();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..ROUNDS {
                    for _ in 0..3 {
                        if lane.add(pump.clone()) {
                            call.send(Some(())).unwrap();
                        }
                    }
                    call.send(None).unwrap();
                }
            });
            for round in 1..=ROUNDS {
                while called.recv().unwrap().is_some() {
                    lane.run();
                }
                // Those of a later round may have run too.
                let ran = pump.0.load(Ordering::Relaxed);
                assert!(ran >= 3 * round, "{ran} in round {round}");
            }
        });
        assert_eq!(pump.0.load(Ordering::Relaxed), 3 * ROUNDS);
    }
}
