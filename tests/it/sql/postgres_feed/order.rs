//! A proof of freshness comes behind all that was written before it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Semaphore;
use tower_wristband::{
    Clock, Timestamp,
    store::{Change, FeedEvent, Heartbeat, SessionStore, Updated},
};

use super::{BEAT, announcing, next};
use crate::sql::bed::{Known, now};

const WRITERS: usize = 8;

/// So many writes are not told yet, at most: a consumer that is slower is not fresh.
const AHEAD: usize = 32;

/// So many stamps are looked at that were taken amid the writes.
const STAMPS: usize = 30;

/// A clock that notes, whenever a stamp is taken, how many writes of each writer had returned.
#[derive(Clone)]
struct Witness {
    returned: Arc<[AtomicUsize; WRITERS]>,
    notes: Arc<Mutex<VecDeque<[usize; WRITERS]>>>,
}

impl Clock for Witness {
    fn now(&self) -> Timestamp {
        let returned = self.returned.each_ref();
        let returned = returned.map(|count| count.load(Ordering::SeqCst));
        self.notes.lock().unwrap().push_back(returned);
        now()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamp_comes_behind_every_write_that_had_returned() {
    let (bed, store) = announcing().await;
    let mut sessions = Vec::new();
    for _ in 0..WRITERS {
        sessions.push(Known::created(&bed.store(), None, now()).await);
    }
    let witness = Witness {
        returned: Arc::new([const { AtomicUsize::new(0) }; WRITERS]),
        notes: Arc::default(),
    };
    let mut feed = store.feed(Heartbeat::new(BEAT / 10).with_clock(witness.clone())).unwrap();
    assert_eq!(next(&mut feed).await, FeedEvent::Gap);

    let (ends, ahead) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(AHEAD)));
    let mut writers = Vec::new();
    for (number, session) in sessions.iter().enumerate() {
        let (key, writer) = (session.key, bed.node().await);
        let (witness, ends, ahead) = (witness.clone(), Arc::clone(&ends), Arc::clone(&ahead));
        writers.push(tokio::spawn(async move {
            let mut count = 0;
            while !ends.load(Ordering::SeqCst) {
                ahead.acquire().await.unwrap().forget();
                count += 1;
                let change = Change::new(count as u64).with_field("count", &count).unwrap();
                let updated = writer.update(key, change, 0, None, now()).await.unwrap();
                assert!(matches!(updated, Updated::Stored));
                witness.returned[number].store(count, Ordering::SeqCst);
            }
        }));
    }

    let (mut told, mut stamps) = ([0; WRITERS], 0);
    while stamps < STAMPS {
        match next(&mut feed).await {
            FeedEvent::Changed(key) => {
                let number = sessions.iter().position(|session| session.key == key).unwrap();
                told[number] += 1;
                ahead.add_permits(1);
                // Who looks again finds what was written.
                let proof = sessions[number].record.proof();
                let record = store.load(key, proof, now()).await.unwrap().unwrap();
                let count: usize = record.field("count").unwrap().parse().unwrap();
                assert!(count >= told[number], "{count} after {}", told[number]);
            }
            FeedEvent::Fresh(_) => {
                let returned = witness.notes.lock().unwrap().pop_front().expect("a stamp");
                let is_behind = told.iter().zip(returned).all(|(told, returned)| *told >= returned);
                assert!(is_behind, "told {told:?} of {returned:?}");
                stamps += usize::from(returned.iter().all(|count| *count > 0));
            }
            other => panic!("{other:?}"),
        }
    }
    ends.store(true, Ordering::SeqCst);
    ahead.add_permits(WRITERS);
    for writer in writers {
        writer.await.unwrap();
    }
}
