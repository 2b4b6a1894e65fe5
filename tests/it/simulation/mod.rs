//! The bound of the near cache, in a simulation: several nodes and a server on a network that
//! delays, holds back and loses what is sent, with clocks that drift and jump, processes that stop,
//! machines that are suspended, and a server that is killed and started again. Nodes run the layer
//! and the cache as they are; all that is random comes from a seed.
//!
//! What must be is judged by the true time, which no node knows, within the bound that follows from
//! `max_staleness` and how wrong a clock may be.
//!
//! Each machine is a runtime of its own with paused time, as in turmoil. That would not do: all its
//! hosts have one clock, which runs evenly and never stands still.
//!
//! `WRISTBAND_SIMULATIONS` is how many there are. A failure names its seed: with `WRISTBAND_SEED`
//! the same happens again, unless two users shared one of the cache's 1024 slots by chance.

mod caches;
mod history;
mod machine;
mod network;
mod plan;
mod remote;
mod server;
mod visitor;

use std::{
    env,
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tower_wristband::{
    BoxError, CachedStore, Lifetime, MemoryStore, SessionLayer, store::CacheStatistics,
};

use self::{
    caches::Make,
    history::{Answer, History, Kind, Violation},
    machine::Machine,
    network::{Network, Port},
    plan::{DRIFT, JUMP, Moment, NODES, Plan, SERVER, STEP, Weather, ms},
    remote::Remote,
    server::Message,
    visitor::Visitor,
};
use crate::random::Random;

/// The cache's default for `max_staleness`.
const BOUND: Duration = Duration::from_secs(2);
const VISITORS: u64 = 6;
const STORE_TIMEOUT: Duration = ms(1_000);
/// By then all nodes work as they should again, after the last that went wrong.
const RECOVERY: Duration = ms(6_000);

struct Node {
    machine: Machine,
    port: Port<Message>,
    remote: Remote,
    cached: CachedStore,
    visitors: Vec<JoinHandle<()>>,
    /// When all had recovered.
    then: Option<CacheStatistics>,
}

struct Outcome {
    plan: Arc<Plan>,
    history: History,
    nodes: Vec<Figures>,
}

struct Figures {
    then: CacheStatistics,
    end: CacheStatistics,
    loads: usize,
}

fn simulate(seed: u64, weather: Weather, make: Make) -> Outcome {
    let plan = Arc::new(Plan::new(seed, weather));
    let network = Network::new(&plan);
    let history = Arc::new(Mutex::new(History::default()));
    let store = MemoryStore::new();
    let mut random = Random(seed.rotate_left(32));
    let mut server = Some(start_server(&plan, &network, &store, Moment::ZERO));
    let mut nodes: Vec<Node> = (1..=NODES)
        .map(|node| start_node(&plan, node, &network, make, &history, &mut random))
        .collect();

    let mut cuts = plan.cuts.iter().copied().peekable();
    let mut now = Moment::ZERO;
    while now < plan.end {
        let end = now + STEP;
        while let Some((_, machine)) = cuts.next_if(|(at, _)| *at <= now) {
            network.cut(machine, now);
            if machine == SERVER {
                server = None;
            }
        }
        if plan.restarts.contains(&now) {
            server = Some(start_server(&plan, &network, &store, now));
        }
        if let Some((machine, port)) = &mut server {
            network.deliver(port, end);
            machine.run(now, end);
        }
        for node in &mut nodes {
            if now >= plan.calm + RECOVERY && node.then.is_none() {
                node.then = Some(node.machine.with(|| node.cached.statistics()));
            }
            network.deliver(&node.port, end);
            node.machine.run(now, end);
        }
        now = end;
    }
    for visitor in nodes.iter_mut().flat_map(|node| node.visitors.drain(..)) {
        let visited = visitor.now_or_never();
        assert!(matches!(visited, Some(Ok(()))), "seed {seed}: a visitor still waits, or panicked");
    }
    // Nobody has a time any more to say goodbye at.
    network.cut(SERVER, now);
    let figures = nodes.iter().map(|node| Figures {
        then: node.then.expect("it ended later"),
        end: node.machine.with(|| node.cached.statistics()),
        loads: node.remote.loads(),
    });
    let nodes = figures.collect();
    let history = std::mem::take(&mut *history.lock().unwrap());
    Outcome { plan, history, nodes }
}

fn start_server(
    plan: &Arc<Plan>,
    network: &Network<Message>,
    store: &MemoryStore,
    now: Moment,
) -> (Machine, Port<Message>) {
    let machine = Machine::start(plan, SERVER, now);
    let port = machine.with(|| {
        let (port, opening) = Port::open(network, SERVER, machine.clocks());
        tokio::spawn(server::serve(opening, store.clone()));
        port
    });
    (machine, port)
}

fn start_node(
    plan: &Arc<Plan>,
    node: usize,
    network: &Network<Message>,
    make: Make,
    history: &Arc<Mutex<History>>,
    random: &mut Random,
) -> Node {
    let machine = Machine::start(plan, node, Moment::ZERO);
    let clocks = machine.clocks();
    // The last requests are to be answered.
    let until = plan.end - 2 * STORE_TIMEOUT;
    let (port, remote, cached, visitors) = machine.with(|| {
        let (port, _) = Port::open(network, node, clocks);
        let remote = Remote::new(port.clone(), 1 + random.below(3));
        let cached = make(remote.clone(), Arc::clone(clocks));
        let lifetime = Lifetime::new(Duration::from_secs(3_600), Duration::from_secs(86_400));
        let layer = SessionLayer::builder(cached.clone())
            .clock(Arc::clone(clocks))
            .lifetime(lifetime.with_touch_interval(Duration::from_secs(5)))
            .store_timeout(STORE_TIMEOUT)
            .random_source(bytes(random.next()))
            .build()
            .expect("a valid configuration");
        let visitors = (0..VISITORS).map(|_| {
            let visitor = Visitor::new(node, clocks, &layer, history, random.next());
            tokio::spawn(visitor.visit(until))
        });
        (port, remote, cached, visitors.collect())
    });
    Node { machine, port, remote, cached, visitors, then: None }
}

/// Random bytes that the seed repeats: in the order of their keys a user's sessions are ended.
fn bytes(seed: u64) -> impl Fn(&mut [u8]) -> Result<(), BoxError> + Send + Sync {
    let random = Mutex::new(Random(seed));
    move |bytes| {
        bytes.fill_with(|| random.lock().unwrap().next() as u8);
        Ok(())
    }
}

impl Outcome {
    fn violation(&self) -> Option<Violation> {
        self.history.violation(|node| bound(&self.plan, node))
    }
}

/// How old, by the true time, what a node goes by may be.
fn bound(plan: &Plan, node: usize) -> Duration {
    // Of two clocks that are too slow the better one counts, and the monotonic one never jumps.
    let jump = if plan.fates[node].is_suspended() { JUMP } else { Duration::ZERO };
    (BOUND + jump) * 1_000 / (1_000 - DRIFT as u32) + ms(1)
}

fn seeds(default: u64) -> Range<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = number("WRISTBAND_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    first..first + number("WRISTBAND_SIMULATIONS").unwrap_or(default)
}

/// Whether all is as it must be, and the nodes have recovered.
fn check(seed: u64, outcome: &Outcome) {
    let alone = format!(
        "seed {seed}: WRISTBAND_SEED={seed} WRISTBAND_SIMULATIONS=1 cargo test --all-features \
         --test it simulation::"
    );
    if let Some(violation) = outcome.violation() {
        panic!("{violation}\n{alone}");
    }
    for (at, Figures { then, end, .. }) in outcome.nodes.iter().enumerate() {
        let recovered = outcome.plan.calm + RECOVERY;
        let failed = outcome.history.count(1 + at, recovered, |answer| answer == Answer::Failed);
        assert_eq!((failed, end.bypasses), (0, then.bypasses), "node {}\n{alone}", 1 + at);
        assert!(end.hits > then.hits, "node {}: {then:?}, {end:?}\n{alone}", 1 + at);
    }
}

#[test]
fn whatever_goes_wrong_the_bound_holds_and_all_nodes_recover() {
    for seed in seeds(300) {
        check(seed, &simulate(seed, Weather::Foul, caches::sound));
    }
}

#[test]
fn without_a_feed_the_time_that_was_named_is_the_bound() {
    for seed in seeds(100) {
        check(seed, &simulate(seed, Weather::Foul, caches::without_feed));
    }
}

#[test]
fn when_nothing_goes_wrong_the_store_is_asked_for_what_changed_only() {
    for seed in 0..10 {
        let outcome = simulate(seed, Weather::Fair, caches::sound);
        check(seed, &outcome);
        for (at, Figures { end, loads, .. }) in outcome.nodes.iter().enumerate() {
            // That there is no such session is not kept.
            let refused =
                outcome.history.count(1 + at, Moment::ZERO, |answer| answer == Answer::Refused);
            let loads = loads - refused - end.bypasses as usize;
            let hits = end.hits as usize;
            assert!(3 * hits > 2 * loads, "seed {seed}: {loads} loads, {end:?}");
            // What was loaded was kept until it changed, unless it did while it was on its way.
            let kept = end.invalidations as usize + end.entries;
            assert!(5 * loads < 6 * kept, "seed {seed}: {loads} loads, {end:?}");
            assert!(end.gaps == 1 && end.bypasses < 10, "seed {seed}: {end:?}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_simulation() {
    // Which users share a slot is random, and matters when all sessions of one are ended.
    let seeds = (0..).filter(|seed| !Plan::new(*seed, Weather::Foul).purges);
    for seed in seeds.take(5) {
        let visits = || simulate(seed, Weather::Foul, caches::sound).history.visits;
        assert_eq!(visits(), visits(), "seed {seed}");
    }
}

/// What the first simulation finds that finds anything.
fn found(make: Make) -> Kind {
    let mut violations =
        (0..1_000).filter_map(|seed| simulate(seed, Weather::Foul, make).violation());
    violations.next().expect("a broken cache is found").kind
}

fn is_too_old(kind: Kind) -> bool {
    matches!(kind, Kind::Ended | Kind::Superseded | Kind::Stale)
}

#[test]
fn a_cache_that_does_not_guard_its_fills_is_found() {
    assert!(is_too_old(found(caches::without_guard)));
}

#[test]
fn a_cache_that_trusts_a_silent_feed_is_found() {
    assert!(is_too_old(found(caches::trusting_silence)));
}

#[test]
fn a_cache_whose_proofs_count_from_their_receipt_is_found() {
    assert!(is_too_old(found(caches::stamped_on_receipt)));
}

#[test]
fn a_cache_that_is_not_emptied_after_a_reconnect_is_found() {
    assert!(is_too_old(found(caches::without_gaps)));
}
