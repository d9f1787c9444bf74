//! A time that grows: the pause between two looks at what is waited for, or the patience with one attempt. It is short at
//! first, so that what is quick is seen at once, and longer each time, so that what is slow is not burdened.

use std::time::Duration;

/// A time that grows by half each time, up to a longest one.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    now: Duration,
    longest: Duration,
}

impl Backoff {
    /// The pause between two attempts or looks: from 50 ms to one second.
    pub fn pause() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// The patience with an attempt to log in to a machine that is coming up, where a longer one may be made later. QEMU
    /// takes a connection before anybody in there listens, and an attempt that hangs on it must not cost all that a slow
    /// machine is given.
    pub(crate) fn patience(longest: Duration) -> Self {
        Self::between(Duration::from_secs(12), longest)
    }

    fn between(first: Duration, longest: Duration) -> Self {
        Self { now: first.min(longest), longest }
    }

    /// As long as it is at present.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// The next time it is longer.
    pub(crate) fn grow(&mut self) {
        self.now = (self.now + self.now / 2).min(self.longest);
    }

    /// The next time it is as long as it can be.
    pub(crate) fn grow_to_longest(&mut self) {
        self.now = self.longest;
    }

    /// Sleeps so long, and longer the next time.
    pub async fn sleep(&mut self) {
        tokio::time::sleep(self.now).await;
        self.grow();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_up_to_a_longest_one() {
        let mut pause = Backoff::pause();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pauses.push(pause.now().as_millis());
            pause.grow();
        }
        assert_eq!(pauses[..4], [50, 75, 112, 168]);
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(pauses[10..], [1000, 1000]);
    }

    #[test]
    fn it_is_never_longer_than_allowed() {
        let brief = Duration::from_secs(3);
        let mut patience = Backoff::patience(brief);
        assert_eq!(patience.now(), brief);
        patience.grow();
        assert_eq!(patience.now(), brief);
        let mut patience = Backoff::patience(Duration::from_secs(30));
        assert_eq!(patience.now(), Duration::from_secs(12));
        patience.grow_to_longest();
        assert_eq!(patience.now(), Duration::from_secs(30));
    }
}
