//! The store contract: a careful store keeps it, and it bites each careless one.

use std::sync::Arc;

use tower_wristband::{
    MemoryStore,
    testing::{Fault, FaultyStore, Operation, contract},
};

pub(crate) mod careless;
#[allow(dead_code, reason = "its `main` is for `cargo run`")]
#[path = "../../examples/custom_store.rs"]
pub(crate) mod custom_store;

use careless::{Careless, Defect};
use custom_store::CustomStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custom_store_keeps_the_contract() {
    contract::check_all(CustomStore::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_keeps_the_contract() {
    contract::check_all(MemoryStore::new()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_has_to_be_waited_for_keeps_the_contract() {
    use Operation::*;
    let store = FaultyStore::new(CustomStore::default());
    let faults = store.faults();
    for operation in [Load, Create, Update, Rotate, Touch, Destroy, List, DestroyUser, Sweep, Check]
    {
        faults.always(operation, Fault::Pending);
    }
    contract::check_all(store).await.unwrap();
    assert!(faults.calls(Load) > 1000);
}

#[tokio::test]
async fn a_custom_store_refuses_damaged_records() {
    let store = Arc::new(CustomStore::default());
    let damage = async |key, damage| {
        let bytes: &[u8] = match damage {
            contract::Damage::Undecodable => b"{",
            contract::Damage::NewerFormat => br#"{"format":1000000,"new":[]}"#,
        };
        store.0.lock().unwrap().get_mut(&key).unwrap().1 = bytes.to_vec();
    };
    contract::damaged_records_are_refused(store.clone(), damage).await.unwrap();

    // Damage that does none is found out too.
    let harmless = contract::damaged_records_are_refused(store.clone(), async |_, _| {});
    assert_eq!(harmless.await.unwrap_err().point(), 12);
}

#[test]
fn every_point_has_a_check_and_every_check_a_name_of_its_own() {
    let mut points: Vec<_> = contract::CHECKS.iter().map(contract::Check::point).collect();
    assert!(points.is_sorted());
    points.dedup();
    assert_eq!(points, (1..=12).collect::<Vec<_>>());

    let mut names: Vec<_> = contract::CHECKS.iter().map(contract::Check::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), contract::CHECKS.len());
}

#[tokio::test]
async fn each_careless_store_is_caught_at_the_point_it_breaks() {
    contract::check_all(Careless::new(Defect::None)).await.unwrap();
    let mut missed = Vec::new();
    for (defect, point) in Defect::ALL {
        let found = contract::check_all(Careless::new(*defect)).await;
        if !matches!(&found, Err(violation) if violation.point() == *point) {
            missed.push((defect, point, found));
        }
    }
    assert!(missed.is_empty(), "not caught, or at another point: {missed:#?}");
}

#[tokio::test]
async fn each_check_can_be_called_alone() {
    let careless = Arc::new(Careless::new(Defect::IgnoresTheOwner));
    let violation = contract::destroy_asks_for_the_owner(careless.clone()).await.unwrap_err();
    assert_eq!(violation.check(), "destroy_asks_for_the_owner");
    assert_eq!(
        violation.to_string(),
        "point 8 of the store contract (destroy_asks_for_the_owner): `destroy` answered true, not \
         false",
    );
    contract::destroy_is_idempotent(careless).await.unwrap();
}
