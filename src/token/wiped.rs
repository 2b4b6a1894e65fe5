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
