//! A line between landfall and a machine: it can be slow, swallow everything for a while, or break.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// The line, which ends with its last user.
pub struct Line {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes a second each way; 0 for as fast as it goes.
    rate: AtomicU64,
    /// Whether nothing comes through, without an error.
    black_hole: AtomicBool,
    /// Bytes that came through, both ways.
    moved: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// A line to a port of this machine.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&shared);
                    spawn(move || carry(from, to, &state));
                }
                shared.open.lock().unwrap().extend([here, there]);
            }
        });
        Self { port: own, state }
    }

    /// Bytes a second, each way, from now on.
    pub fn set_rate(&self, rate: u64) {
        self.state.rate.store(rate, Ordering::Relaxed);
    }

    /// From now on nothing comes through, or everything does.
    pub fn set_black_hole(&self, on: bool) {
        self.state.black_hole.store(on, Ordering::Relaxed);
    }

    /// Bytes that came through so far.
    pub fn moved(&self) -> u64 {
        self.state.moved.load(Ordering::Relaxed)
    }

    /// Breaks every connection.
    pub fn reset(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &State) {
    // A tenth of a second's worth at a time.
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let rate = state.rate.load(Ordering::Relaxed);
        let tenth = usize::try_from(rate / 10).unwrap().clamp(1, buffer.len());
        let most = if rate == 0 { buffer.len() } else { tenth };
        let Ok(length @ 1..) = from.read(&mut buffer[..most]) else { break };
        while state.black_hole.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50));
        }
        if rate > 0 {
            sleep(
                Duration::from_secs(1) * u32::try_from(length).unwrap()
                    / u32::try_from(rate).unwrap(),
            );
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        state.moved.fetch_add(length as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
