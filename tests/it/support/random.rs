use std::time::{SystemTime, UNIX_EPOCH};

/// Random numbers (xorshift64, G. Marsaglia 2003) for schedules. The seed is
/// printed, and `CHITCHAT_SEED` repeats it.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let seed = match std::env::var("CHITCHAT_SEED") {
            Ok(seed) => seed.parse().expect("a seed is a number"),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |since| since.as_nanos() as u64),
        };
        println!("CHITCHAT_SEED={seed}");
        Self(seed | 1)
    }

    /// Another source, with a schedule of its own.
    pub fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
