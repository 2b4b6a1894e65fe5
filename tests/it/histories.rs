//! Random concurrent histories on each store, checked for linearizability: for every session there
//! is an order of what was done to it that a sequential specification allows, and in which nothing
//! comes before what had been answered when it began. So a store behaves as if every operation
//! happened at one moment.
//!
//! `WRISTBAND_HISTORIES` is how many there are for each store, once on a healthy network and once
//! on one that loses requests and replies. A failure names its seed: with `WRISTBAND_SEED` the same
//! calls are made again, though not in the same order.

mod check;
mod plan;
mod run;
mod spec;

use std::{
    env,
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::Arc,
};

use tower_wristband::{
    StoreErrorKind,
    store::SessionStore,
    testing::{Fault, FaultyStore, Operation},
};

use self::{check::violation, plan::Plan};
use crate::{
    contract::careless::{Careless, Defect},
    random::Random,
    stores::{Kind, Namespace},
};

/// Two nodes with one database.
type Nodes = [Arc<dyn SessionStore>; 2];

fn seeds(default: u64) -> Range<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = number("WRISTBAND_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    first..first + number("WRISTBAND_HISTORIES").unwrap_or(default)
}

/// What is wrong with one of these histories, if anything is; and how many answers were errors.
async fn first_violation(
    seeds: Range<u64>,
    nodes: &Nodes,
    network: fn(&Arc<dyn SessionStore>, u64) -> Arc<dyn SessionStore>,
) -> Result<usize, String> {
    let mut errors = 0;
    for seed in seeds {
        let nodes = [network(&nodes[0], seed), network(&nodes[1], seed + 1)];
        let history = run::run(&Plan::of(seed), &nodes).await;
        if let Some(violation) = violation(&history) {
            return Err(format!("WRISTBAND_SEED={seed}: {violation}"));
        }
        errors += history.errors();
    }
    Ok(errors)
}

fn healthy(store: &Arc<dyn SessionStore>, _: u64) -> Arc<dyn SessionStore> {
    Arc::clone(store)
}

/// Every fifth answer is an error, whether the operation was done or not.
fn lossy(store: &Arc<dyn SessionStore>, seed: u64) -> Arc<dyn SessionStore> {
    use Operation::{Create, Destroy, DestroyUser, List, Load, Rotate, Touch, Update};
    let mut random = Random(seed);
    let store = FaultyStore::new(Arc::clone(store));
    let faults = store.faults();
    for operation in [Load, Create, Update, Rotate, Touch, Destroy, List, DestroyUser] {
        for _ in 0..30 {
            let fault = match random.next() % 10 {
                0 => Fault::LostReply(StoreErrorKind::Timeout),
                1 => Fault::Error(StoreErrorKind::Unavailable),
                _ => Fault::Pending,
            };
            faults.next(operation, fault);
        }
    }
    Arc::new(store)
}

async fn are_linearizable(kind: Kind) {
    let namespace = Namespace::new(kind);
    let nodes: Nodes = [(); 2].map(|()| Arc::new(namespace.connect()) as _);
    match first_violation(seeds(40), &nodes, healthy).await {
        Ok(errors) => assert_eq!(errors, 0, "errors on a healthy {kind}"),
        Err(violation) => panic!("{kind} is not linearizable. {violation}"),
    }
    match first_violation(seeds(20), &nodes, lossy).await {
        Ok(errors) => assert_ne!(errors, 0, "no request was lost"),
        Err(violation) => panic!("{kind} with errors is not linearizable. {violation}"),
    }
}

macro_rules! on_each_store {
    ($($name:ident: $kind:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
        async fn $name() {
            are_linearizable(Kind::$kind).await;
        }
    )*};
}
on_each_store! {
    histories_in_memory_are_linearizable: Memory,
    histories_on_sqlite_are_linearizable: Sqlite,
    histories_on_postgres_are_linearizable: Postgres,
    histories_on_mysql_are_linearizable: MySql,
    histories_on_redis_are_linearizable: Redis,
    histories_on_a_redis_cluster_are_linearizable: RedisCluster,
    histories_on_redis_with_sentinels_are_linearizable: RedisSentinel,
}

/// The fewest histories among which a broken store is always caught.
const ENOUGH: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_broken_store_is_caught() {
    let first = seeds(0).start;
    let careful: Arc<dyn SessionStore> = Arc::new(Careless::new(Defect::None));
    let nodes = [Arc::clone(&careful), careful];
    first_violation(first..first + ENOUGH, &nodes, healthy).await.expect("a careful store");
    let mut missed = Vec::new();
    for defect in [
        Defect::OverwritesTakenKeys,
        Defect::LosesTheLabel,
        Defect::UpdateCreates,
        Defect::UpdateIgnoresLogins,
        Defect::TouchIgnoresLogins,
        Defect::WritesWholeRecords,
        Defect::WritesFieldByField,
        Defect::IgnoresExpect,
        Defect::WritesOnConflict,
        Defect::RotatesByDeleteAndCreate,
        Defect::RotatesFromAnyProof,
        Defect::RotatesInTwoSteps,
        Defect::BindsAnotherUser,
        Defect::TouchMovesBack,
        Defect::TouchChangesTheVersion,
        Defect::DestroyRepeatsItsAnswer,
        Defect::IgnoresTheOwner,
        Defect::UpdatesAcrossDestroy,
        Defect::EndsTheException,
    ] {
        let store: Arc<dyn SessionStore> = Arc::new(Careless::new(defect));
        let nodes = [Arc::clone(&store), store];
        let caught = first_violation(first..first + ENOUGH, &nodes, healthy).await;
        if caught.is_ok() {
            missed.push(defect);
        }
    }
    assert!(missed.is_empty(), "not caught among {ENOUGH} histories from {first}: {missed:?}");
}
