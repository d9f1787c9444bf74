//! What a run costs: evaluations, handshakes, bytes on the wire, memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Counters shared by everything that spends; a cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    evaluations: AtomicU32,
    handshakes: AtomicU32,
    bytes_sent: AtomicU64,
}

impl Metrics {
    /// Counts one evaluation of the flake.
    pub(crate) fn evaluation(&self) {
        self.0.evaluations.fetch_add(1, Relaxed);
    }

    /// Counts one SSH connection that came as far as the key exchange.
    pub(crate) fn handshake(&self) {
        self.0.handshakes.fetch_add(1, Relaxed);
    }

    /// Counts payload sent to the target.
    pub(crate) fn sent(&self, bytes: u64) {
        self.0.bytes_sent.fetch_add(bytes, Relaxed);
    }

    /// Evaluations of the flake so far.
    pub fn evaluations(&self) -> u32 {
        self.0.evaluations.load(Relaxed)
    }

    /// SSH handshakes so far.
    pub fn handshakes(&self) -> u32 {
        self.0.handshakes.load(Relaxed)
    }

    /// Payload bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent.load(Relaxed)
    }

    /// This process' peak resident memory in bytes (`VmHWM` of proc(5); Linux only).
    pub(crate) fn peak_memory() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }
}
