//! A network of connections. On each, messages come in the order in which they were sent, if they
//! come; those of different connections overtake each other.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep_until,
};

use super::{
    machine::Clocks,
    plan::{Moment, Plan, SERVER, STEP, UNNOTICED, ms},
};
use crate::random::Random;

/// What two machines say to each other.
pub enum Content<M> {
    Open,
    Message(M),
    Closed,
}

struct Packet<M> {
    link: usize,
    content: Content<M>,
}

/// A connection of a node to the server.
struct Link {
    node: usize,
    /// When the last message comes to the server, and to the node.
    latest: [Moment; 2],
    cut: Option<Moment>,
}

pub struct Network<M>(Arc<Mutex<State<M>>>);

struct State<M> {
    plan: Arc<Plan>,
    random: Random,
    links: Vec<Link>,
    /// What is on its way to each machine, by when it comes and was sent.
    ways: Vec<BinaryHeap<Reverse<(Moment, usize)>>>,
    packets: HashMap<usize, Packet<M>>,
    sent: usize,
    /// Nobody notices that a message is lost; so whoever waits for it must not see it dropped.
    lost: Vec<Packet<M>>,
}

impl<M> Clone for Network<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Send + 'static> Network<M> {
    pub fn new(plan: &Arc<Plan>) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan: Arc::clone(plan),
            random: Random(!plan.seed),
            links: Vec::new(),
            ways: plan.fates.iter().map(|_| BinaryHeap::new()).collect(),
            packets: HashMap::new(),
            sent: 0,
            lost: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().unwrap()
    }

    /// Breaks all connections of a machine. Either end notices some time later.
    pub fn cut(&self, machine: usize, now: Moment) {
        let mut state = self.state();
        for link in 0..state.links.len() {
            let Link { node, cut, .. } = state.links[link];
            if cut.is_none() && (machine == SERVER || machine == node) {
                state.links[link].cut = Some(now);
                for to in [SERVER, node] {
                    let at = now + STEP + ms(state.random.next() % UNNOTICED.as_millis() as u64);
                    state.push(at, to, Packet { link, content: Content::Closed });
                }
            }
        }
    }

    /// What comes to the machine before the end of this step, if it is up.
    pub fn deliver(&self, port: &Port<M>, end: Moment) {
        let mut state = self.state();
        while let Some(&Reverse((at, number))) = state.ways[port.machine].peek()
            && at < end
        {
            state.ways[port.machine].pop();
            let packet = state.packets.remove(&number).expect("it is on its way");
            let is_lost = state.links[packet.link].cut.is_some_and(|cut| cut <= at);
            if is_lost && !matches!(packet.content, Content::Closed) {
                state.lost.push(packet);
            } else {
                let _ = port.packets.send((at, packet));
            }
        }
    }
}

impl<M> State<M> {
    fn push(&mut self, at: Moment, to: usize, packet: Packet<M>) {
        self.sent += 1;
        self.ways[to].push(Reverse((at, self.sent)));
        self.packets.insert(self.sent, packet);
    }

    fn send(&mut self, now: impl FnOnce() -> Moment, from: usize, packet: Packet<M>) {
        let Link { node, latest, cut } = self.links[packet.link];
        // A machine that is down has no time.
        if cut.is_some() {
            self.lost.push(packet);
            return;
        }
        let side = usize::from(from == SERVER);
        let to = if from == SERVER { node } else { SERVER };
        let plan = Arc::clone(&self.plan);
        let now = now();
        let sent = now + plan.delay(now, &mut self.random);
        let mut arrival = |at| plan.arrival(from, to, at, &mut self.random);
        // Each by itself, but none before the one in front of it.
        let at = arrival(sent).max(latest[side]);
        let at = arrival(at);
        self.links[packet.link].latest[side] = at;
        self.push(at, to, packet);
    }
}

/// Where a machine is in the network, while it is up.
pub struct Port<M> {
    machine: usize,
    network: Network<M>,
    clocks: Arc<Clocks>,
    packets: UnboundedSender<(Moment, Packet<M>)>,
    ends: Arc<Mutex<HashMap<usize, UnboundedSender<M>>>>,
}

impl<M> Clone for Port<M> {
    fn clone(&self) -> Self {
        Self {
            machine: self.machine,
            network: self.network.clone(),
            clocks: Arc::clone(&self.clocks),
            packets: self.packets.clone(),
            ends: Arc::clone(&self.ends),
        }
    }
}

impl<M: Send + 'static> Port<M> {
    /// Within the machine's runtime. The other answer is what others open.
    pub fn open(
        network: &Network<M>,
        machine: usize,
        clocks: &Arc<Clocks>,
    ) -> (Self, UnboundedReceiver<End<M>>) {
        let (packets, arriving) = unbounded_channel();
        let (opened, opening) = unbounded_channel();
        let port = Self {
            machine,
            network: network.clone(),
            clocks: Arc::clone(clocks),
            packets,
            ends: Arc::default(),
        };
        tokio::spawn(port.clone().receive(arriving, opened));
        (port, opening)
    }

    async fn receive(
        self,
        mut arriving: UnboundedReceiver<(Moment, Packet<M>)>,
        opened: UnboundedSender<End<M>>,
    ) {
        while let Some((at, Packet { link, content })) = arriving.recv().await {
            sleep_until(self.clocks.local(at)).await;
            match content {
                Content::Open => drop(opened.send(self.end(link))),
                Content::Message(message) => {
                    if let Some(end) = self.ends.lock().unwrap().get(&link) {
                        let _ = end.send(message);
                    }
                }
                Content::Closed => drop(self.ends.lock().unwrap().remove(&link)),
            }
        }
    }

    /// Connects to the server. It is not known whether it is there.
    pub fn connect(&self) -> End<M> {
        let link = {
            let mut state = self.network.state();
            state.links.push(Link { node: self.machine, latest: [Moment::ZERO; 2], cut: None });
            state.links.len() - 1
        };
        let end = self.end(link);
        end.put(Content::Open);
        end
    }

    fn end(&self, link: usize) -> End<M> {
        let (sender, messages) = unbounded_channel();
        self.ends.lock().unwrap().insert(link, sender);
        End { link, port: self.clone(), messages }
    }
}

/// One end of a connection.
pub struct End<M: Send + 'static> {
    link: usize,
    port: Port<M>,
    messages: UnboundedReceiver<M>,
}

impl<M: Send + 'static> End<M> {
    pub fn send(&self, message: M) {
        self.put(Content::Message(message));
    }

    /// The next message; `None` when the end has noticed that the connection is broken.
    pub async fn receive(&mut self) -> Option<M> {
        self.messages.recv().await
    }

    fn put(&self, content: Content<M>) {
        let Port { machine, network, clocks, .. } = &self.port;
        let packet = Packet { link: self.link, content };
        network.state().send(|| clocks.truth(), *machine, packet);
    }
}

impl<M: Send + 'static> Drop for End<M> {
    fn drop(&mut self) {
        self.port.ends.lock().unwrap().remove(&self.link);
        self.put(Content::Closed);
    }
}
