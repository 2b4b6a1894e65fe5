//! What the explorations share.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use shuttle::{
    future::block_on,
    thread::{self, JoinHandle},
};
use tower_wristband::{
    Lifetime, Timestamp, UserId,
    store::{Change, Proof, Record, SessionKey, StoreFuture},
};

pub const NOW: Timestamp = Timestamp::from_unix_millis(1_767_225_600_000);
pub const KEY: SessionKey = key(1);

pub const fn key(number: u8) -> SessionKey {
    SessionKey::from_bytes([number; 16])
}

pub const fn proof(number: u8) -> Proof {
    Proof::from_bytes([number; 32])
}

pub fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

pub fn login(version: u64, name: &str) -> Change {
    Change::new(version).with_user(user(name))
}

pub fn field(version: u64, name: &str, value: u32) -> Change {
    Change::new(version).with_field(name, &value).expect("a field")
}

/// What is stored under the proof 0, with these changes.
pub fn record(change: &Change) -> Record {
    let lifetime = Lifetime::new(Duration::from_secs(60), Duration::from_secs(600));
    let mut record = Record::new(proof(0), lifetime, NOW);
    record.apply(change, NOW);
    record
}

/// The answer of a store that answers at once, or as soon as it is polled.
pub fn wait<T>(future: StoreFuture<T>) -> T {
    block_on(future).expect("the store works")
}

/// Waits for the future, but drops it when it has been pending so often.
pub async fn give_up_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Runs it in a thread of its own.
pub fn start<S: Clone + Send + 'static, T: Send + 'static>(
    shared: &S,
    run: impl FnOnce(S) -> T + Send + 'static,
) -> JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || run(shared))
}

pub fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("the thread has not panicked")
}

pub fn join_all<T, const N: usize>(threads: [JoinHandle<T>; N]) -> [T; N] {
    threads.map(join)
}
