//! The feed, and who waits for the end of a session.

use std::time::Duration;

use shuttle::future::block_on;
use tower_wristband::{
    MemoryStore,
    future::Ended,
    store::{Change, Feed, FeedEvent, Heartbeat, SessionStore},
};

use crate::{
    schedules::explore,
    site::Site,
    support::{KEY, NOW, field, join, proof, record, start, wait},
};

fn feed(store: &MemoryStore) -> Feed {
    let mut feed = store.feed(Heartbeat::new(Duration::from_secs(1))).expect("it has one");
    assert_eq!(block_on(feed.next()), FeedEvent::Gap);
    feed
}

#[test]
fn who_listens_sees_a_change_or_is_told_of_it() {
    explore(|| {
        let store = MemoryStore::new();
        wait(store.create(KEY, record(&Change::new(1)), None, NOW));
        let listening = start(&store, |store| {
            let mut feed = feed(&store);
            let seen = wait(store.load(KEY, proof(0), NOW)).expect("it lives");
            if seen.field("a").is_none() {
                while block_on(feed.next()) != FeedEvent::Changed(KEY) {}
                let seen = wait(store.load(KEY, proof(0), NOW)).expect("it lives");
                assert!(seen.field("a").is_some());
            }
        });
        wait(store.update(KEY, field(2, "a", 1), 0, None, NOW));
        join(listening);
    });
}

#[test]
fn who_falls_behind_is_told_of_a_gap() {
    const CHANGES: u64 = 6;
    explore(|| {
        let store = MemoryStore::new();
        wait(store.create(KEY, record(&Change::new(1)), None, NOW));
        let mut feed = feed(&store);
        let listening = start(&(), move |()| {
            let mut told = 0;
            while told < CHANGES {
                match block_on(feed.next()) {
                    FeedEvent::Changed(_) => told += 1,
                    FeedEvent::Gap => return,
                    _ => {}
                }
            }
        });
        for version in 0..CHANGES {
            wait(store.update(KEY, Change::new(2 + version), 0, None, NOW));
        }
        join(listening);
    });
}

/// What a request of this cookie's session waits for.
fn ended(site: &Site, cookie: &http::HeaderValue) -> Ended {
    site.request(Some(cookie), async |session| session.ended()).value
}

#[test]
fn who_waits_for_the_end_of_a_session_is_told() {
    explore(|| {
        let site = Site::new();
        let [early, late] = [site.log_in(), site.log_in()];
        // The task that looks after those who wait is there already.
        let first = ended(&site, &early);
        let first = start(&(), |()| block_on(first));
        let second = start(&(site.clone(), late), |(site, late)| block_on(ended(&site, &late)));
        // On another node.
        for number in [1, 2] {
            assert!(wait(site.store.destroy(crate::support::key(number), None, NOW)));
        }
        join(first);
        join(second);
    });
}
