//! Bytes that don't outlive their use.

use std::ops::{Deref, DerefMut};

use zeroize::zeroize_bytes;

/// Wiped from memory when dropped, all at once: `Zeroizing` wipes an array byte by byte.
#[derive(Clone)]
pub(crate) struct Wiped<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Deref for Wiped<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Wiped<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Wiped<N> {
    fn drop(&mut self) {
        zeroize_bytes(&mut self.0);
    }
}

// Where a program can look at its own memory as at a file.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use super::*;

    /// The bytes at an address of this process.
    fn memory<const N: usize>(address: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let memory = File::open("/proc/self/mem").expect("the memory of this process");
        memory.read_exact_at(&mut bytes, address as u64).expect("it can be read");
        bytes
    }

    #[test]
    fn what_is_dropped_is_not_in_memory_any_more() {
        // Of which the memory stays when what is in it is dropped.
        let mut tokens = Vec::from([Wiped([7; 48])]);
        let address = tokens.as_ptr() as usize;
        assert_eq!(memory(address), [7; 48]);
        tokens.clear();
        assert_eq!(memory(address), [0; 48]);
    }
}
