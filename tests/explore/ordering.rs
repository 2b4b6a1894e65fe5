//! What the memory model allows, at the two places that rely on more than locks. Loom tries out
//! everything that it allows, for what is written with its atomics; shuttle knows no order of
//! memory.

#![allow(dead_code, reason = "the two files are taken from the crate's sources as they are")]

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use loom::thread;
use tower_wristband::{
    SessionKey,
    store::{Feed, FeedEvent, Heartbeat, Stamp},
};

use self::sync::atomic::{AtomicUsize, Ordering};

#[path = "../../src/store/fanout.rs"]
mod fanout;
#[path = "../../src/store/cached/freshness.rs"]
mod freshness;

mod clock {
    pub use tower_wristband::Timestamp;
}

mod store {
    /// As the crate's own, whose fields nobody else sees.
    #[derive(Clone, Copy)]
    pub struct Stamp {
        pub instant: tokio::time::Instant,
        pub timestamp: crate::clock::Timestamp,
    }
}

mod sync {
    pub mod atomic {
        pub use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
    }
}

#[test]
fn who_begins_to_listen_sees_a_write_or_is_told_of_it() {
    loom::model(|| {
        let shared = Arc::new((AtomicUsize::new(0), fanout::Fanout::default()));
        let writing = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let (written, fanout) = &*writing;
            written.store(1, Ordering::Relaxed);
            fanout.send(FeedEvent::Changed(SessionKey::from_bytes([1; 16])));
        });
        let (written, fanout) = &*shared;
        let mut listener = fanout.listen();
        let is_seen = written.load(Ordering::Relaxed) == 1;
        writer.join().expect("the thread has not panicked");
        assert!(is_seen || listener.next().now_or_never().is_some());
    });
}

#[test]
fn who_sees_a_proof_of_freshness_sees_all_of_it() {
    let origin = tokio::time::Instant::now();
    let stamp = move |seconds| store::Stamp {
        instant: origin + Duration::from_secs(3600 + seconds),
        timestamp: clock::Timestamp::from_unix_millis(seconds),
    };
    loom::model(move || {
        let freshness = Arc::new(freshness::Freshness::new());
        let proving = Arc::clone(&freshness);
        let writer = thread::spawn(move || [1, 2].map(|seconds| proving.set(stamp(seconds))));
        if let Some(seen) = freshness.stamp() {
            let seconds = if seen.instant == stamp(2).instant { 2 } else { 1 };
            assert!(seen.timestamp >= stamp(seconds).timestamp);
        }
        writer.join().expect("the thread has not panicked");
    });
}
