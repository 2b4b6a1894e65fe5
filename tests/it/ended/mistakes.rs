//! Stores that break their contract.

use tokio::time::timeout;
use tower_wristband::{EndReason, Lifetime};

use super::{stream, within_a_moment};
use crate::{
    contract::careless::{Careless, Defect},
    support::world_on,
};

#[tokio::test(start_paused = true)]
async fn a_store_that_returns_the_expired_keeps_no_stream_open() {
    let world = world_on(Careless::new(Defect::LoadsTheExpired), |builder| builder);
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    world.clock.advance(Lifetime::AAL2.idle());
    assert_eq!(timeout(super::RECHECK, &mut ended).await, Ok(EndReason::Expired));
}
