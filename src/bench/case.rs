//! Loads with a name: the ones that figures are told of.

use std::time::Duration;

use super::plan::{Length, Pace, Plan};

/// A load with a name.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Whether its server keeps the rooms in a file.
    pub durable: bool,
    build: fn() -> Plan,
}

/// All of them.
pub const CASES: [Case; 7] = [
    Case {
        name: "chat-10",
        about: "1 sender and 9 receivers at 200 messages/s: the latency of a small room",
        durable: false,
        build: || at_a_human_pace(1, 9, 600),
    },
    Case {
        name: "chat-256",
        about: "8 and 248 at 200 messages/s: the cost of waking a full room",
        durable: false,
        build: || at_a_human_pace(8, 248, 120),
    },
    Case {
        name: "fan-64",
        about: "8 and 56, as fast as it goes: fan-out",
        durable: false,
        build: || saturated(8, 56, 6000),
    },
    Case {
        name: "fan-256",
        about: "8 and 248, as fast as it goes: fan-out four times as wide",
        durable: false,
        build: || saturated(8, 248, 2500),
    },
    Case {
        name: "bulk-1",
        about: "1 and 1, as fast as it goes: the way of one event",
        durable: false,
        build: || saturated(1, 1, 100_000),
    },
    Case {
        name: "durable",
        about: "8 and 56, as fast as the disk goes: every message is kept before it is sent",
        durable: true,
        build: || Plan {
            length: Length::Time(Duration::from_secs(3)),
            ..saturated(8, 56, 0)
        },
    },
    Case {
        name: "idle-1000",
        about: "1000 members who do nothing, in rooms of 100, beside a small room: memory",
        durable: false,
        build: || Plan {
            idle: 1000,
            ..at_a_human_pace(1, 9, 200)
        },
    },
];

impl Case {
    /// The load itself.
    pub fn plan(&self) -> Plan {
        (self.build)()
    }
}

fn at_a_human_pace(senders: usize, receivers: usize, messages: u32) -> Plan {
    Plan {
        senders,
        receivers,
        pace: Pace::Rate(200.0),
        length: Length::Messages(messages),
        warmup: 50,
        ..Plan::default()
    }
}

fn saturated(senders: usize, receivers: usize, messages: u32) -> Plan {
    Plan {
        senders,
        receivers,
        pace: Pace::Window(64),
        length: Length::Messages(messages),
        warmup: 300,
        ..Plan::default()
    }
}
