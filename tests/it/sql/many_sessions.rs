//! A user with very many sessions: what it takes is bounded.

use std::time::{Duration, Instant};

use tower_wristband::{
    SessionLayer, UserId,
    store::{Change, SessionStore, Updated},
};

use super::bed::{Bed, Known, Store, now, user};

on_each_database!(a_hundred_thousand_sessions_of_a_user_are_bounded);

const MANY: usize = 100_000;

/// An outer limit: it takes some seconds.
const LONGEST: Duration = Duration::from_secs(600);

/// So many sessions of the user.
async fn many(bed: &Bed, user: &UserId) -> Known {
    let known = Known::created(&bed.store(), Some(user), now()).await;
    bed.multiply(MANY - 1).await;
    known
}

async fn a_hundred_thousand_sessions_of_a_user_are_bounded(bed: Bed) {
    let (alice, bob) = (user(), user());
    let newest = many(&bed, &alice).await;
    let store = bed.store();
    let start = Instant::now();

    // How long a page takes is the machine's business.
    let layer = SessionLayer::builder(bed.store()).store_timeout(LONGEST).build().unwrap();
    let sessions = layer.sessions();
    let count = within("count", sessions.count(&alice)).await.unwrap();
    assert_eq!(count, MANY);
    let page = within("list", store.list(alice.clone(), None, 50, now())).await.unwrap();
    assert_eq!(page.len(), 50);

    // One of them is as quick to change as any other.
    let change = Change::new(7).with_field("n", &7).unwrap();
    let updated = within("update", store.update(newest.key, change, 1, None, now())).await.unwrap();
    assert!(matches!(updated, Updated::Stored));

    // A cap that is new ends all but the newest, and the newcomer.
    let newcomer = log_in(&store, &alice, 3).await;
    let left = store.list(alice.clone(), None, 10, now()).await.unwrap();
    let keys: Vec<_> = left.iter().map(tower_wristband::SessionSummary::key).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&newcomer.key) && keys.contains(&newest.key));

    bed.sql("DELETE FROM {table}").await.unwrap();
    let newest = many(&bed, &alice).await;
    let his = Known::created(&store, Some(&bob), now()).await;
    let others = store.destroy_user(alice.clone(), Some(newest.key), 0, now());
    assert_eq!(within("revoke the others", others).await.unwrap(), MANY - 1);
    let left = store.list(alice, None, 10, now()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key(), newest.key);
    assert!(store.load(his.key, his.record.proof(), now()).await.unwrap().is_some());
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = future.await;
    println!("{what}: {:?}", start.elapsed());
    result
}

async fn log_in(store: &Store, user: &UserId, cap: usize) -> Known {
    let known = Known::new(&Change::new(1).with_user(user.clone()), now());
    let created = store.create(known.key, known.record.clone(), Some(cap), now());
    within("login with a cap", created).await.unwrap();
    known
}
