//! What goes wrong in a simulation, and when: all of it from a seed.

use std::time::Duration;

use crate::random::Random;

/// A moment by the true time, which no machine knows: how long the simulation has been going.
pub type Moment = Duration;

/// No message takes less, so that machines can run for so long without a look at each other.
pub const STEP: Duration = ms(10);
/// The server; the nodes are the machines behind it.
pub const SERVER: usize = 0;
pub const NODES: usize = 3;

/// The clocks of a machine run at most so much too fast or too slow, in parts of a thousand.
pub const DRIFT: u64 = 10;
/// What the wall clock of a machine that is ever suspended jumps by in all, at most. That of
/// another may jump by whatever it likes.
pub const JUMP: Duration = ms(200);

/// Of how many milliseconds one more a message may take when nothing is wrong.
const JITTER: u64 = 20;

/// No message takes longer, were there no partition.
const SLOWEST: Duration = ms(4_300);

/// What was held back by a partition comes at most so long after its end.
const AFTERWARDS: Duration = ms(300);

/// An end of a broken connection notices that at most so late.
pub const UNNOTICED: Duration = ms(3_000);

/// What holds messages back, or a machine up, does so for at most so long.
const LONGEST: Duration = ms(4_000);

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing, though clocks are never right.
    Fair,
    /// All that can.
    Foul,
}

/// What a machine sleeps through.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub start: Moment,
    pub end: Moment,
    /// Whether the monotonic clock stands still meanwhile, as it does on a machine that is
    /// suspended. It goes on if only the process is stopped.
    pub suspended: bool,
}

/// From when to when.
pub type Span = (Moment, Moment);

/// Messages are held back, as long as it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    pub node: usize,
    pub start: Moment,
    pub end: Moment,
    pub to_server: bool,
    pub from_server: bool,
}

/// What befalls one machine.
#[derive(Debug)]
pub struct Fate {
    /// How fast the monotonic clock runs.
    pub rate: f64,
    pub wall_rate: f64,
    /// By how many milliseconds the wall clock jumps, and when.
    pub jumps: Vec<(Moment, i64)>,
    pub pauses: Vec<Pause>,
}

impl Fate {
    pub fn is_suspended(&self) -> bool {
        self.pauses.iter().any(|pause| pause.suspended)
    }
}

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    /// Nothing goes wrong from here on.
    pub calm: Moment,
    pub end: Moment,
    /// Whether all sessions of a user are ended at once, now and then.
    pub purges: bool,
    /// Whether some users may have few sessions at a time.
    pub caps: bool,
    /// Whether sessions expire. The wall clocks are right then, by which that is judged.
    pub expiry: bool,
    /// Of how many milliseconds one more a message may take, as a rule.
    pub jitter: u64,
    /// How many messages of a thousand are lost and sent again, which takes long.
    pub slow: usize,
    pub partitions: Vec<Partition>,
    /// When all connections of a machine break: those of the server when it is killed.
    pub cuts: Vec<(Moment, usize)>,
    /// When the server starts again that was killed.
    pub restarts: Vec<Moment>,
    /// When a node is down. Then it starts anew.
    pub outages: Vec<(usize, Span)>,
    /// When the server tells nothing of what changes, but answers. What happens meanwhile is not
    /// told later.
    pub silences: Vec<Span>,
    /// Of the server, then of the nodes.
    pub fates: Vec<Fate>,
}

impl Plan {
    pub fn new(seed: u64, weather: Weather) -> Self {
        let mut random = Random(seed);
        let mut plan = Self {
            seed,
            calm: ms(12_000),
            end: ms(22_000),
            purges: random.below(4) > 0,
            caps: random.below(2) == 0,
            expiry: random.below(4) == 0,
            jitter: JITTER,
            slow: 0,
            partitions: Vec::new(),
            cuts: Vec::new(),
            restarts: Vec::new(),
            outages: Vec::new(),
            silences: Vec::new(),
            fates: (0..=NODES).map(|_| Fate::fair(&mut random)).collect(),
        };
        if weather == Weather::Foul {
            plan.spoil(&mut random);
        }
        if plan.expiry {
            for fate in &mut plan.fates {
                fate.wall_rate = 1.0;
                fate.jumps.clear();
            }
        }
        plan
    }

    fn spoil(&mut self, random: &mut Random) {
        let calm = self.calm;
        if random.below(6) == 0 {
            // Nothing else goes wrong, so whoever waits must find out by looking, and in time.
            let start = moment(random, calm / 2);
            return self.silences.push((start, calm));
        }
        self.jitter = [JITTER, 300][random.below(2)];
        self.slow = [0, 20, 100][random.below(3)];
        for node in 1..=NODES {
            for _ in 0..random.below(3) {
                self.part(node, random);
            }
            for _ in 0..random.below(3) {
                self.cuts.push((moment(random, calm), node));
            }
            if random.below(8) == 0 {
                let (start, end) = span(random, calm);
                self.cuts.push((start, node));
                self.outages.push((node, (start, end)));
            }
        }
        if random.below(3) == 0 {
            self.silences.push(span(random, calm));
        }
        if random.below(4) == 0 {
            let (start, end) = span(random, calm);
            self.cuts.push((start, SERVER));
            self.restarts.push(end);
        }
        self.cuts.sort_unstable();
        for fate in &mut self.fates {
            fate.spoil(random, calm);
        }
    }

    /// Partitions of a node from the server, each but a moment after the one before.
    fn part(&mut self, node: usize, random: &mut Random) {
        let direction = random.below(4);
        let (to_server, from_server) = (direction < 2, direction != 1);
        let (mut start, mut end) = span(random, self.calm);
        for _ in 0..=random.below(4) {
            self.partitions.push(Partition { node, start, end, to_server, from_server });
            let moment = STEP * (1 + random.below(20)) as u32;
            (start, end) = (end + moment, (end + moment + length(random)).min(self.calm));
        }
    }

    /// Whether the server can tell what changes in this step.
    pub fn is_silent(&self, now: Moment) -> bool {
        self.silences.iter().any(|(start, end)| (*start..*end).contains(&now))
    }

    /// Whether the server told what changed, all this time.
    pub fn tells(&self, (start, end): Span) -> bool {
        self.silences.iter().all(|silence| silence.1 < start || end < silence.0)
    }

    /// Whether the node could ask the server all this time, and what was asked was answered soon.
    pub fn is_well(&self, node: usize, (start, end): Span) -> bool {
        let is_over = |trouble: Span| trouble.1 < start || end < trouble.0;
        let concerns = |machine: usize| machine == SERVER || machine == node;
        let slow = (Moment::ZERO, self.calm + SLOWEST);
        let partitions = self.partitions.iter().filter(|partition| partition.node == node);
        let cuts = self.cuts.iter().filter(|(_, machine)| concerns(*machine));
        let outages = self.outages.iter().filter(|(machine, _)| concerns(*machine));
        let pauses = [SERVER, node].into_iter().flat_map(|machine| &self.fates[machine].pauses);
        let kill = self.cuts.iter().find(|(_, machine)| *machine == SERVER);
        (self.slow == 0 || is_over(slow))
            && partitions.map(|one| (one.start, one.end + AFTERWARDS)).all(is_over)
            && cuts.map(|(at, _)| (*at, *at + STEP + UNNOTICED)).all(is_over)
            && outages.map(|(_, outage)| *outage).all(is_over)
            && pauses.map(|pause| (pause.start, pause.end)).all(is_over)
            && kill.zip(self.restarts.first()).is_none_or(|((at, _), end)| is_over((*at, *end)))
    }

    /// How long a message takes that is sent now, were there no partition.
    pub fn delay(&self, now: Moment, random: &mut Random) -> Duration {
        let (jitter, slow) = if now < self.calm { (self.jitter, self.slow) } else { (JITTER, 0) };
        let longest = [1_500, 4_000][random.below(2)];
        let is_slow = random.below(1_000) < slow;
        STEP + ms(if is_slow { 200 + random.next() % longest } else { random.next() % jitter })
    }

    /// When a message comes that would come then, were there no partition.
    pub fn arrival(&self, from: usize, to: usize, mut at: Moment, random: &mut Random) -> Moment {
        let holds = |partition: &&Partition, at: Moment| {
            (partition.start..partition.end).contains(&at)
                && (partition.node == from && to == SERVER && partition.to_server
                    || partition.node == to && from == SERVER && partition.from_server)
        };
        while let Some(partition) = self.partitions.iter().find(|partition| holds(partition, at)) {
            at = partition.end + ms(random.next() % AFTERWARDS.as_millis() as u64);
        }
        at
    }
}

impl Fate {
    fn fair(random: &mut Random) -> Self {
        let mut rate = || (1_000 - DRIFT + random.next() % (2 * DRIFT + 1)) as f64 / 1_000.0;
        Self { rate: rate(), wall_rate: rate(), jumps: Vec::new(), pauses: Vec::new() }
    }

    fn spoil(&mut self, random: &mut Random, calm: Moment) {
        if random.below(2) == 0 {
            let (start, end) = span(random, calm);
            self.pauses.push(Pause { start, end, suspended: random.below(2) == 0 });
        }
        let jumps = random.below(3);
        let furthest = if self.is_suspended() { JUMP.as_millis() as u64 / 2 } else { 60_000 };
        for _ in 0..jumps {
            let by = (random.next() % (2 * furthest + 1)) as i64 - furthest as i64;
            self.jumps.push((moment(random, calm), by));
        }
    }
}

/// Steps begin and end with it.
fn moment(random: &mut Random, before: Moment) -> Moment {
    STEP * random.below((before.as_millis() / STEP.as_millis()) as usize) as u32
}

/// Most are about as long as a feed may be silent.
fn span(random: &mut Random, before: Moment) -> (Moment, Moment) {
    let start = moment(random, before);
    (start, (start + length(random)).min(before))
}

fn length(random: &mut Random) -> Duration {
    let longest = if random.below(2) == 0 { LONGEST } else { LONGEST / 4 };
    STEP * (1 + random.below((longest.as_millis() / STEP.as_millis()) as usize)) as u32
}
