//! When sessions that are waited for are looked at in the store, and how many at a time.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_store_that_tells_nothing_is_asked_at_every_interval() {
    let world = untold();
    let cookie = world.signed_in("alice").await;
    let session = stream(&world.layer, &cookie).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    let before = world.loads();
    assert!(timeout(3 * RECHECK + SECOND, &mut ended).await.is_err());
    assert_eq!(world.loads() - before, 3);
    // Another node ends it.
    let key = session.key().unwrap();
    let now = world.clock.now();
    assert!(world.store.destroy(key, None, now).await.unwrap());
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(timeout(RECHECK, &mut ended).await.unwrap(), EndReason::Ended);
}

#[tokio::test(start_paused = true)]
async fn what_the_node_ends_itself_is_known_at_once_though_the_store_tells_nothing() {
    for way in 0..5 {
        let world = untold();
        let cookie = world.signed_in("alice").await;
        let session = stream(&world.layer, &cookie).await;
        let mut ended = session.ended();
        assert_eq!(within_a_moment(&mut ended).await, None);
        let sessions = world.layer.sessions();
        match way {
            0 => assert_eq!(sessions.revoke_user(&alice()).await.unwrap(), 1),
            1 => assert!(sessions.revoke(&alice(), session.key().unwrap()).await.unwrap()),
            2 => {
                let request = InFlight::with(&world, &cookie).await;
                request.session.log_out().await.unwrap();
                request.finish().await;
            }
            _ => {
                let request = InFlight::with(&world, &cookie).await;
                let user = if way == 3 { "alice" } else { "bob" };
                request.session.log_in(user).unwrap();
                request.finish().await;
            }
        }
        assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_ended_nobody_is_looked_at() {
    let world = untold();
    let cookie = world.signed_in("alice").await;
    let session = stream(&world.layer, &cookie).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    let loads = world.loads();
    let bob = "bob".parse().unwrap();
    assert_eq!(world.layer.sessions().revoke_user(&bob).await.unwrap(), 0);
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(world.loads(), loads);
    world.rotate(&cookie).await;
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(world.loads(), loads + 1, "the request's own");
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_falls_silent_is_made_up_for_by_looking() {
    let store = FaultyStore::new(MemoryStore::new()).with_feed(|_| {
        Some(Feed::new(async |events: FeedSender| {
            events.send(FeedEvent::Gap).await;
            std::future::pending::<()>().await;
        }))
    });
    let world = world_on(store, |builder| builder);
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    world.layer.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(timeout(RECHECK, &mut ended).await.unwrap(), EndReason::Ended);
}

#[tokio::test(start_paused = true)]
async fn an_interval_longer_than_any_clock_counts_keeps_nobody_from_being_told() {
    let longest = |builder: SessionLayerBuilder| builder.recheck_interval(Duration::MAX);
    let told = FaultyStore::new(MemoryStore::new());
    let untold = FaultyStore::new(MemoryStore::new()).with_feed(|_| None);
    for world in [world_on(told, longest), world_on(untold, longest)] {
        let session = stream(&world.layer, &world.signed_in("alice").await).await;
        let mut ended = session.ended();
        assert_eq!(within_a_moment(&mut ended).await, None);
        world.layer.sessions().revoke_user(&alice()).await.unwrap();
        assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_nothing_and_is_asked_again() {
    let world = near_world();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    world.faults.always(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
    let mut ended = session.ended();
    let before = world.loads();
    assert!(timeout(100 * SECOND, &mut ended).await.is_err());
    // After a pause that grows: 1, 2, 4, … 32 seconds.
    let looks = world.loads() - before;
    assert!((6..=12).contains(&looks), "{looks}");
    world.faults.always(Operation::Load, Fault::Hang);
    assert!(timeout(100 * SECOND, &mut ended).await.is_err());
    world.faults.clear();
    assert!(timeout(100 * SECOND, &mut ended).await.is_err());
    world.layer.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_decoded_ends_the_stream_as_it_refuses_a_request() {
    let world = near_world();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    world.faults.always(Operation::Load, Fault::Error(StoreErrorKind::Corrupt));
    assert_eq!(within_a_moment(&mut session.ended()).await, Some(EndReason::Ended));
}

/// A layer whose feed tells what the test says.
pub(super) fn scripted() -> (World, mpsc::UnboundedSender<FeedEvent>) {
    let (script, lines) = mpsc::unbounded_channel();
    let lines = Arc::new(Mutex::new(lines));
    let store = FaultyStore::new(MemoryStore::new()).with_feed(move |_| {
        let lines = lines.clone();
        Some(Feed::new(async move |events: FeedSender| {
            let mut lines = lines.lock().await;
            while let Some(event) = lines.recv().await {
                events.send(event).await;
            }
        }))
    });
    (world_on(store, |builder| builder), script)
}

/// Those of as many users, which are waited for.
pub(super) async fn a_hundred_streams(world: &World) -> Vec<Ended> {
    let mut streams = Vec::new();
    for number in 0..100 {
        let cookie = world.signed_in(&format!("user{number}")).await;
        streams.push(stream(&world.layer, &cookie).await.ended());
    }
    for ended in &mut streams {
        assert_eq!(within_a_moment(ended).await, None);
    }
    streams
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_all_are_looked_at_a_few_at_a_time() {
    let (world, script) = scripted();
    let _streams = a_hundred_streams(&world).await;
    let gate = Gate::new();
    world.faults.always(Operation::Load, Fault::Hold(gate.clone()));
    let before = world.loads();
    script.send(FeedEvent::Gap).unwrap();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(world.loads() - before, 16);
    gate.release();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(world.loads() - before, 17);
    gate.open();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(world.loads() - before, 100);
}

#[tokio::test(start_paused = true)]
async fn only_those_who_wait_are_looked_at() {
    let (world, script) = scripted();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let other = stream(&world.layer, &world.signed_in("bob").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    let before = world.loads();
    script.send(FeedEvent::Changed(other.key().unwrap())).unwrap();
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(world.loads(), before);
    script.send(FeedEvent::Changed(session.key().unwrap())).unwrap();
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(world.loads(), before + 1);
    // It is told, and not looked at.
    script.send(FeedEvent::Ended(session.key().unwrap())).unwrap();
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
    assert_eq!(world.loads(), before + 1);
}
