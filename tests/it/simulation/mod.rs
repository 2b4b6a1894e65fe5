//! The bound of the near cache, in a simulation: several nodes and a server on a network that
//! delays, holds back and loses what is sent, with clocks that drift and jump, processes that stop,
//! machines that are suspended, nodes and a server that are killed and started again, and a server
//! that for a while does not tell what changes. Nodes run the layer and the cache as they are; all
//! that is random comes from a seed.
//!
//! Visitors send requests, and hold streams open that wait for the end of their session. Some users
//! may have few sessions at a time, some sessions expire.
//!
//! What must be is judged by the true time, which no node knows, within the bound that follows from
//! `max_staleness` and how wrong a clock may be.
//!
//! Each machine is a runtime of its own with paused time, as in turmoil. That would not do: all its
//! hosts have one clock, which runs evenly and never stands still.
//!
//! `WRISTBAND_SIMULATIONS` is how many there are. A failure names its seed: with `WRISTBAND_SEED`
//! the same happens again, unless two users shared one of the cache's 1024 slots by chance.

mod broken;
mod caches;
mod caps;
mod history;
mod machine;
mod network;
mod plan;
mod remote;
mod server;
mod streams;
mod visitor;
mod watchers;

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
    caps::CAP,
    history::{Answer, History, Violation},
    machine::Machine,
    network::{Network, Port},
    plan::{DRIFT, JUMP, Moment, NODES, Plan, SERVER, STEP, Weather, ms},
    remote::{Flaw, Remote},
    server::{Message, Telling},
    visitor::{Layers, Visitor},
    watchers::Front,
};
use crate::random::Random;

/// The cache's default for `max_staleness`.
const BOUND: Duration = Duration::from_secs(2);
const VISITORS: u64 = 6;
const STORE_TIMEOUT: Duration = ms(1_000);
/// By then all nodes work as they should again, after the last that went wrong.
const RECOVERY: Duration = ms(6_000);
/// How often streams look for themselves whether their sessions have ended, unless they are told.
const RECHECK: Duration = ms(3_000);
/// For so long a node that is well takes to look at a session, or to hear of it.
const MOMENT: Duration = ms(1_000);

/// What the nodes have between their visitors and the server.
#[derive(Clone, Copy)]
struct Setup {
    flaw: Option<Flaw>,
    cache: Make,
    /// Whether the server tells the cache what changes.
    is_told: bool,
    front: Front,
    /// The same of those who may have few sessions, where they log in.
    capped: Front,
}

const SOUND: Setup = Setup {
    flaw: None,
    cache: caches::sound,
    is_told: true,
    front: watchers::sound,
    capped: watchers::sound,
};

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
    is_told: bool,
}

struct Figures {
    then: CacheStatistics,
    end: CacheStatistics,
    loads: usize,
}

fn simulate(seed: u64, weather: Weather, setup: Setup) -> Outcome {
    let plan = Arc::new(Plan::new(seed, weather));
    let network = Network::new(&plan);
    let history = Arc::new(Mutex::new(History::default()));
    let store = MemoryStore::new();
    let telling = Arc::new(Telling::new());
    let world = World { plan: &plan, network: &network, history: &history, store: &store, setup };
    let mut random = Random(seed.rotate_left(32));
    let mut server = Some(world.start_server(&telling, Moment::ZERO));
    let start = |node| Some(world.start_node(node, Moment::ZERO, &mut random));
    let mut nodes: Vec<Option<Node>> = (1..=NODES).map(start).collect();

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
            server = Some(world.start_server(&telling, now));
        }
        for (node, (start, end)) in &plan.outages {
            if *start == now {
                nodes[node - 1] = None;
            } else if *end == now {
                nodes[node - 1] = Some(world.start_node(*node, now, &mut random));
            }
        }
        telling.switch(!plan.is_silent(now));
        if let Some((machine, port)) = &mut server {
            network.deliver(port, end);
            machine.run(now, end);
        }
        if plan.caps {
            caps::note(&history, &store, (now, end));
        }
        for node in nodes.iter_mut().flatten() {
            if now >= plan.calm + RECOVERY && node.then.is_none() {
                node.then = Some(node.machine.with(|| node.cached.statistics()));
            }
            network.deliver(&node.port, end);
            node.machine.run(now, end);
        }
        now = end;
    }
    let mut nodes: Vec<Node> = nodes.into_iter().map(|node| node.expect("it is up")).collect();
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
    let figures = figures.collect();
    drop(nodes);
    let history = std::mem::take(&mut *history.lock().unwrap());
    Outcome { plan, history, nodes: figures, is_told: setup.is_told }
}

/// What machines are started in.
struct World<'a> {
    plan: &'a Arc<Plan>,
    network: &'a Network<Message>,
    history: &'a Arc<Mutex<History>>,
    store: &'a MemoryStore,
    setup: Setup,
}

impl World<'_> {
    fn start_server(&self, telling: &Arc<Telling>, now: Moment) -> (Machine, Port<Message>) {
        let machine = Machine::start(self.plan, SERVER, now);
        let port = machine.with(|| {
            let (port, opening) = Port::open(self.network, SERVER, machine.clocks());
            tokio::spawn(server::serve(opening, self.store.clone(), Arc::clone(telling)));
            port
        });
        (machine, port)
    }

    fn start_node(&self, node: usize, now: Moment, random: &mut Random) -> Node {
        let Self { plan, network, history, setup, .. } = self;
        let machine = Machine::start(plan, node, now);
        let clocks = machine.clocks();
        // The last requests are to be answered.
        let until = plan.end - 2 * STORE_TIMEOUT;
        let (port, remote, cached, visitors) = machine.with(|| {
            let (port, _) = Port::open(network, node, clocks);
            let remote = Remote::new(port.clone(), 1 + random.below(3), setup.flaw);
            let cached = (setup.cache)(remote.clone(), Arc::clone(clocks));
            let layer = |front: Front, random| {
                SessionLayer::builder((front)(&cached, &remote))
                    .clock(Arc::clone(clocks))
                    .lifetime(lifetime())
                    .store_timeout(STORE_TIMEOUT)
                    .recheck_interval(RECHECK)
                    .random_source(bytes(random))
            };
            let layers = Layers {
                main: layer(setup.front, random.next()).build().expect("a valid configuration"),
                capped: layer(setup.capped, random.next())
                    .sessions_per_user(CAP)
                    .build()
                    .expect("a valid configuration"),
            };
            let visitors = (0..VISITORS).map(|_| {
                let visitor = Visitor::new(node, clocks, &layers, history, random.next());
                tokio::spawn(visitor.visit(until))
            });
            (port, remote, cached, visitors.collect())
        });
        Node { machine, port, remote, cached, visitors, then: None }
    }
}

fn lifetime() -> Lifetime {
    let lifetime = Lifetime::new(Duration::from_secs(3_600), Duration::from_secs(86_400));
    lifetime.with_touch_interval(Duration::from_secs(5))
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
        let violation = self.history.violation(|node| bound(&self.plan, node));
        violation.or_else(|| streams::violation(&self.history, &self.plan, self.is_told))
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
    for seed in seeds(200) {
        check(seed, &simulate(seed, Weather::Foul, SOUND));
    }
}

#[test]
fn without_a_feed_the_time_that_was_named_is_the_bound() {
    let setup = Setup { cache: caches::without_feed, is_told: false, ..SOUND };
    for seed in seeds(70) {
        check(seed, &simulate(seed, Weather::Foul, setup));
    }
}

#[test]
fn when_nothing_goes_wrong_the_store_is_asked_for_what_changed_only() {
    let certain = (10..).filter(|seed| !is_left_to_chance(*seed, Weather::Fair)).take(5);
    for seed in (0..10).chain(certain) {
        let outcome = simulate(seed, Weather::Fair, SOUND);
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
            let (more, less) = if is_left_to_chance(seed, Weather::Fair) { (2, 3) } else { (5, 6) };
            assert!(more * loads < less * kept, "seed {seed}: {loads} loads, {end:?}");
            assert!(end.gaps == 1 && end.bypasses < 10, "seed {seed}: {end:?}");
        }
    }
}

/// Which users share a slot is random, and matters when a user's sessions are ended.
fn is_left_to_chance(seed: u64, weather: Weather) -> bool {
    let plan = Plan::new(seed, weather);
    plan.purges || plan.caps
}

#[test]
fn the_same_seed_is_the_same_simulation() {
    let seeds = (0..).filter(|seed| !is_left_to_chance(*seed, Weather::Foul));
    for seed in seeds.take(5) {
        let visits = || simulate(seed, Weather::Foul, SOUND).history.visits;
        assert_eq!(visits(), visits(), "seed {seed}");
    }
}
