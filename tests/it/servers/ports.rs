//! Free ports.

use std::{
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Below the ports that outgoing connections get: one of those could take the place of a server
/// that is down for a moment, or meet itself there.
const LOWEST: u16 = 10_000;
const HIGHEST: u16 = 32_000;

/// A port of the loopback interface that nobody listens at, and that no other call of this process
/// returns.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| {
        // Processes begin at different places.
        let offset = RandomState::new().hash_one(std::process::id()) % u64::from(HIGHEST - LOWEST);
        Mutex::new(LOWEST + u16::try_from(offset).expect("below the highest port"))
    });
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = *next;
        *next = if port == HIGHEST { LOWEST } else { port + 1 };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// This many free ports.
pub fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_port())
}
