//! Round trips, as the server counts them: how often it has read from a connection.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use tower_wristband::{
    Lifetime, RedisStore, SessionLayer, UserId,
    store::{Record, Rotated, SessionStore, Updated},
    testing::{self, ManualClock},
};

use super::{Known, change, connect, now, on, on_cluster, proof, user};
use crate::{
    servers::{Cluster, Server},
    support::{app, get, send, text, visit, who},
};

struct Counter {
    store: RedisStore,
    connection: MultiplexedConnection,
    _server: Server,
}

impl Counter {
    async fn new() -> Self {
        let server = Server::redis(&[]).await;
        let store = on(&server);
        let counter = Self { connection: connect(&server).await, store, _server: server };
        // It connects, and sends its scripts.
        counter.all_operations().await;
        counter
    }

    async fn all_operations(&self) {
        let (store, user) = (&self.store, user());
        for _ in 0..3 {
            let known = Known::of(&user);
            store.create(known.key, known.record.clone(), Some(2), now()).await.unwrap();
            store.update(known.key, change(), 1, None, now()).await.unwrap();
            let from = known.record.proof();
            store.rotate(known.key, from, proof(), change(), None, now()).await.unwrap();
            store.touch(known.key, 1, now()).await.unwrap();
        }
        store.destroy_user(user, None, 0, now()).await.unwrap();
    }

    /// What the server says behind this, in a section of what it tells of itself.
    async fn told(&mut self, section: &str, name: &str) -> usize {
        let info: String =
            redis::cmd("INFO").arg(section).query_async(&mut self.connection).await.unwrap();
        let value = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.split(',').next().unwrap().parse().unwrap()
    }

    async fn reads(&mut self) -> usize {
        self.told("stats", "total_reads_processed:").await
    }

    /// How often a session has been read, also by scripts.
    async fn gets(&mut self) -> usize {
        self.told("commandstats", "cmdstat_get:calls=").await
    }

    /// How many round trips this takes.
    async fn trips<T>(&mut self, operation: impl Future<Output = T>) -> (T, usize) {
        let before = self.reads().await;
        let answer = operation.await;
        // Less the question itself.
        (answer, self.reads().await - before - 1)
    }
}

#[tokio::test]
async fn each_operation_takes_as_few_round_trips_as_it_can() {
    let mut counter = Counter::new().await;
    let (store, user) = (counter.store.clone(), user());
    let now = now();

    let anonymous = Known::new(&change().with_field("a", &1).unwrap());
    let create = store.create(anonymous.key, anonymous.record.clone(), None, now);
    assert_eq!(counter.trips(create).await.1, 1);
    let load = store.load(anonymous.key, proof(), now);
    let (found, trips) = counter.trips(load).await;
    assert!(found.unwrap().is_some());
    assert_eq!(trips, 1);
    let delta = change().with_field("a", &2).unwrap();
    let (updated, trips) = counter.trips(store.update(anonymous.key, delta, 0, None, now)).await;
    assert!(matches!(updated, Ok(Updated::Stored)));
    assert_eq!(trips, 1);
    // A conflict brings the record along.
    let expecting = store.update(anonymous.key, change(), 0, Some(0), now);
    let (updated, trips) = counter.trips(expecting).await;
    assert!(matches!(updated, Ok(Updated::Conflict(Some(_)))));
    assert_eq!(trips, 1);
    assert_eq!(counter.trips(store.touch(anonymous.key, 0, now)).await.1, 1);
    let (from, to) = (anonymous.record.proof(), proof());
    let rotation = store.rotate(anonymous.key, from, to, change(), None, now);
    let (rotated, trips) = counter.trips(rotation).await;
    assert_eq!((rotated.unwrap(), trips), (Rotated::Stored, 1));

    // Logins: the index, and the record.
    let login = change().with_user(user.clone()).with_lifetime(Lifetime::AAL2);
    let rotation = store.rotate(anonymous.key, to, proof(), login, None, now);
    assert_eq!(counter.trips(rotation).await.1, 2);
    let known = Known::of(&user);
    let create = store.create(known.key, known.record.clone(), None, now);
    assert_eq!(counter.trips(create).await.1, 2);

    // Ends: the record, and the index.
    let (ended, trips) = counter.trips(store.destroy(known.key, Some(user.clone()), now)).await;
    assert!(ended.unwrap());
    assert_eq!(trips, 2);
    assert_eq!(counter.trips(store.destroy(known.key, None, now)).await.1, 1);
    let listed = counter.trips(store.list(user.clone(), None, 10, now)).await;
    assert_eq!((listed.0.unwrap().len(), listed.1), (1, 2));
    let (ended, trips) = counter.trips(store.destroy_user(user, None, 0, now)).await;
    assert_eq!((ended.unwrap(), trips), (1, 3));
}

/// How often a part of an index has been read on these servers.
fn scans(servers: &[Server]) -> usize {
    let told =
        servers.iter().filter_map(|server| server.told("commandstats", "cmdstat_zscan:calls="));
    told.map(|scans| scans.split(',').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[tokio::test]
async fn each_page_of_a_list_goes_through_the_whole_index() {
    let single = vec![Server::redis(&[]).await];
    let cluster = Cluster::start().await.nodes;
    let addresses: Vec<_> = cluster.iter().map(Server::address).collect();
    let on_cluster = on_cluster(addresses.iter().map(String::as_str));
    // A thousand at a time; with a cap there are two for each session; a Cluster is asked twice.
    for (store, servers, cap, expected) in [
        (on(&single[0]), &single, None, 3),
        (on(&single[0]), &single, Some(10_000), 5),
        (on_cluster, &cluster, None, 2 * 3),
    ] {
        let user = user();
        let sessions: Vec<_> = (0..2400).map(|_| Known::of(&user)).collect();
        for batch in sessions.chunks(400) {
            let create = |known: &Known| store.create(known.key, known.record.clone(), cap, now());
            let created = join_all(batch.iter().map(create)).await;
            assert!(created.iter().all(Result::is_ok));
        }
        let before = scans(servers);
        let page = store.list(user.clone(), None, 10, now()).await.unwrap();
        assert_eq!((page.len(), scans(servers) - before), (10, expected));
        let before = scans(servers);
        let count = SessionLayer::new(store).sessions().count(&user).await.unwrap();
        assert_eq!((count, scans(servers) - before), (sessions.len(), expected), "one page");
    }
}

#[tokio::test]
async fn a_cap_looks_once_at_a_session_however_often_its_user_has_logged_in_on_it() {
    let mut counter = Counter::new().await;
    let (store, alice) = (counter.store.clone(), user());
    let [known, other] = [(); 2].map(|()| Known::of(&alice));
    known.create(&store).await;
    let mut from = known.record.proof();
    for seconds in 1..=50 {
        let (to, login) = (proof(), change().with_user(alice.clone()));
        let login = login.with_lifetime(Lifetime::AAL2);
        let now = now() + Duration::from_secs(seconds);
        let rotated = store.rotate(known.key, from, to, login, None, now).await.unwrap();
        assert_eq!(rotated, Rotated::Stored);
        from = to;
    }
    let before = counter.gets().await;
    store.create(other.key, other.record.clone(), Some(2), now()).await.unwrap();
    let gets = counter.gets().await - before;
    assert!(gets <= 3, "{gets} reads of two sessions");
}

#[tokio::test]
async fn a_cap_adds_two_round_trips_at_the_most() {
    let mut counter = Counter::new().await;
    let (store, user) = (counter.store.clone(), user());
    for logins in 1..=6 {
        let now = now() + Duration::from_secs(logins);
        let known = Known::of(&user);
        let mut record = Record::new(known.record.proof(), Lifetime::AAL2, now);
        record.apply(&change().with_user(user.clone()), now);
        let (created, trips) = counter.trips(store.create(known.key, record, Some(3), now)).await;
        created.unwrap();
        assert!(trips <= 4, "the {logins}th login took {trips}");
        let listed = store.list(user.clone(), None, 10, now).await.unwrap();
        assert_eq!(listed.len(), usize::try_from(logins.min(3)).unwrap());
    }
}

#[tokio::test]
async fn a_request_takes_one_round_trip_and_what_it_changes() {
    let mut counter = Counter::new().await;
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(counter.store.clone()).clock(clock.clone()).build().unwrap();
    let alice = UserId::try_from("alice").unwrap();
    let cookie = testing::issue(&layer, &alice).await;

    let read = who(&layer);
    assert_eq!(counter.trips(visit(&read, &cookie)).await.1, 1);
    assert_eq!(counter.trips(send(&read, get("/"))).await.1, 0, "without a cookie");
    clock.advance(Duration::from_secs(600));
    assert_eq!(counter.trips(visit(&read, &cookie)).await.1, 2, "a touch is due");

    let write = app(&layer, |session| async move {
        session.insert("a", &1).unwrap();
        text("")
    });
    assert_eq!(counter.trips(visit(&write, &cookie)).await.1, 2);
    let create = app(&layer.optional(), |session| async move {
        session.insert("a", &1).unwrap();
        text("")
    });
    let (response, trips) = counter.trips(send(&create, get("/"))).await;
    assert_eq!(trips, 1);
    let visitor = testing::cookie_from(&response).unwrap();

    let log_in = app(&layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        text("")
    });
    assert_eq!(counter.trips(send(&log_in, get("/"))).await.1, 2);
    let (response, trips) = counter.trips(visit(&log_in, &visitor)).await;
    assert_eq!(trips, 1 + 2, "one of them reads the visitor's session");
    let cookie = testing::cookie_from(&response).unwrap();
    let log_out = app(&layer.optional(), |session| async move {
        session.log_out().await.unwrap();
        text("")
    });
    assert_eq!(counter.trips(visit(&log_out, &cookie)).await.1, 1 + 2);
}

#[tokio::test]
async fn what_a_login_ends_and_its_cap_add_up() {
    let mut counter = Counter::new().await;
    // Without a cap, with room left, and with one that ends a session.
    for (cap, more) in [(None, 0), (Some(3), 1), (Some(2), 2)] {
        let bob = user();
        let layer = SessionLayer::builder(counter.store.clone());
        let layer = match cap {
            Some(cap) => layer.sessions_per_user(cap),
            None => layer,
        };
        let layer = layer.build().unwrap();
        let cookie = testing::issue(&layer, user()).await;
        for _ in 0..2 {
            testing::issue(&layer, bob.clone()).await;
        }
        let log_in = app(&layer, move |session| {
            session.log_in(bob.clone()).unwrap();
            async { text("") }
        });
        let (_, trips) = counter.trips(visit(&log_in, &cookie)).await;
        // The read, the login, and the end of the other user's session.
        assert_eq!(trips, 1 + 2 + 2 + more, "a cap of {cap:?}");
    }
}
