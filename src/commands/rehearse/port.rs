//! Ports of 127.0.0.1 that belong to one machine alone, whatever boards, tests, processes and users there are beside it.

use anyhow::{Context, Result};
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
    /// The same port of another loopback address: the kernel lets one process have it, and takes it back from a dead
    /// one. Only Linux has that address from the start; elsewhere nothing is held.
    _held: Option<Arc<TcpListener>>,
}

impl Port {
    /// Takes one.
    ///
    /// # Errors
    ///
    /// There is none left.
    pub fn take() -> Result<Self> {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let ports = below_ephemeral();
        // Processes begin apart, and none hands one out again soon: somebody may still knock at its last owner's door.
        let start = std::process::id().wrapping_mul(97);
        let port = ports.clone().find_map(|_| {
            let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
            let offset = start.wrapping_add(tried) % u32::from(ports.end - ports.start);
            let number = ports.start + u16::try_from(offset).ok()?;
            let held = if cfg!(target_os = "linux") {
                Some(Arc::new(TcpListener::bind(("127.0.0.2", number)).ok()?))
            } else {
                None
            };
            // Somebody else's server may listen there, who knows nothing of us.
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self { number, _held: held })
        });
        port.with_context(|| format!("none of the ports {ports:?} of 127.0.0.1 is free"))
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// The 12,000 ports below those that the kernel gives to whoever connects somewhere (ip(7), `ip_local_port_range`).
fn below_ephemeral() -> Range<u16> {
    /// Where these begin if nothing else is known: the default of Linux; that of macOS is higher.
    const FIRST: u16 = 32_768;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok());
    // Where the kernel gives away nearly all of them, there is nothing below.
    let first = first.filter(|first| *first > 4096).unwrap_or(FIRST);
    first.saturating_sub(12_000).max(1024)..first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_gets_a_port_that_is_taken() {
        let taken: Vec<Port> = (0..20).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = taken.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), taken.len());
        assert!(numbers.iter().all(|number| below_ephemeral().contains(number)));
        // Its owner can listen on it, again and again.
        for _ in 0..2 {
            TcpListener::bind(("127.0.0.1", numbers[0])).unwrap();
        }
    }
}
