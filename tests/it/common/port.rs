//! Ports of 127.0.0.1 that belong to one test alone, whatever other tests, processes and users run on this machine.

use std::fmt;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port on which nobody listens but who has it. It stays its owner's while nobody listens at all, as when a machine
/// restarts, and is free when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Port {
    number: u16,
    /// The same port of another loopback address: the kernel lets one process have it, and takes it back from a dead one.
    _held: Arc<TcpListener>,
}

impl Port {
    pub fn new() -> Self {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let ports = below_ephemeral();
        // Processes begin apart, and none hands one out again soon: somebody may still knock at its last owner's door.
        let start = std::process::id().wrapping_mul(97);
        loop {
            let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
            let offset = start.wrapping_add(tried) % u32::from(ports.end - ports.start);
            let number = ports.start + u16::try_from(offset).unwrap();
            let Ok(held) = TcpListener::bind(("127.0.0.2", number)) else { continue };
            // Somebody else's server may listen there, who knows nothing of us.
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _held: Arc::new(held) };
            }
        }
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// The 12,000 ports below those that the kernel gives to whoever connects somewhere.
fn below_ephemeral() -> Range<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first = range.split_whitespace().next().unwrap().parse::<u16>().unwrap();
    assert!(first > 2048, "the kernel gives away every port from {first} on");
    first.saturating_sub(12_000).max(1024)..first
}
