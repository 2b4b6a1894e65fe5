//! A cap that can't be enforced.

use tower_wristband::{
    SessionToken,
    store::{Change, Rotated},
};
use tracing::Level;

use super::bed::{Bed, Known, Pool, now, user};
use crate::captured::Capture;

on_each_database!(a_login_that_is_stored_stands_also_if_the_cap_can_not_be_enforced);

async fn a_login_that_is_stored_stands_also_if_the_cap_can_not_be_enforced(bed: Bed) {
    let (store, alice) = (bed.store(), user());
    let oldest = Known::created(&store, Some(&alice), now()).await;
    let visitor = Known::created(&store, None, now()).await;
    let trigger = bed.table.clone() + "_delete";
    bed.sql(&match &bed.pool {
        Pool::Sqlite(_) => format!(
            "CREATE TRIGGER {trigger} BEFORE DELETE ON {{table}} \
             BEGIN SELECT RAISE(ABORT, 'no session ends'); END"
        ),
        Pool::Postgres(_) => format!(
            "CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RAISE EXCEPTION ''no session ends''; END'; \
             CREATE TRIGGER {trigger} BEFORE DELETE ON {{table}} \
             FOR EACH ROW EXECUTE FUNCTION {trigger}()"
        ),
        Pool::MySql(_) => format!(
            "CREATE TRIGGER {trigger} BEFORE DELETE ON {{table}} FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no session ends'"
        ),
    })
    .await
    .unwrap();

    let capture = Capture::start();
    let newcomer = Known::new(&Change::new(2).with_user(alice.clone()), now());
    store.create(newcomer.key, newcomer.record, Some(1), now()).await.unwrap();
    let (from, to) = (visitor.record.proof(), SessionToken::generate().unwrap().proof());
    let login = Change::new(3).with_user(alice.clone());
    let rotated = store.rotate(visitor.key, from, to, login, Some(1), now()).await.unwrap();
    assert!(matches!(rotated, Rotated::Stored));
    assert!(store.load(visitor.key, to, now()).await.unwrap().is_some());
    assert_eq!(store.list(alice.clone(), None, 10, now()).await.unwrap().len(), 3);
    let told = capture.take();
    assert_eq!(told.len(), 2);
    for event in told {
        assert_eq!((event.level, &event.message[..]), (Level::ERROR, "session store failed"));
        assert_eq!(event.field("operation"), Some("enforce_cap"));
    }

    // The next login finds nothing in its way.
    bed.sql(&match &bed.pool {
        Pool::Postgres(_) => format!("DROP FUNCTION {trigger} CASCADE"),
        _ => format!("DROP TRIGGER {trigger}"),
    })
    .await
    .unwrap();
    let last = Known::new(&Change::new(4).with_user(alice.clone()), now());
    store.create(last.key, last.record, Some(1), now()).await.unwrap();
    let left = store.list(alice, None, 10, now()).await.unwrap();
    assert_eq!(left.iter().map(|summary| summary.key()).collect::<Vec<_>>(), [last.key]);
    assert!(store.load(oldest.key, oldest.record.proof(), now()).await.unwrap().is_none());
}
