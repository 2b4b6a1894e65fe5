//! Looks for an order of a history's operations that the specification allows.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::{
    plan::SESSIONS,
    run::{Asked, Event, History, Told},
    spec::{Answer, Op, Session},
};

/// An event as one session sees it.
#[derive(Clone, Debug)]
enum Seen {
    Asked(usize, Op),
    Told(usize, Answer),
}

impl Seen {
    fn id(&self) -> usize {
        match self {
            Self::Asked(id, _) | Self::Told(id, _) => *id,
        }
    }
}

/// What is wrong with a history, if anything is: the shortest beginning that has no order, without
/// the reads that don't matter.
pub fn violation(history: &History) -> Option<String> {
    for session in 0..SESSIONS {
        let seen = seen_by(session, history);
        if is_linearizable(&seen) {
            continue;
        }
        let length = (1..=seen.len()).find(|length| !is_linearizable(&seen[..*length]))?;
        let mut shortest = seen[..length].to_vec();
        for id in reads(&shortest) {
            let without: Vec<_> = shortest.iter().filter(|seen| seen.id() != id).cloned().collect();
            if !is_linearizable(&without) {
                shortest = without;
            }
        }
        let lines: Vec<_> = shortest.iter().map(|seen| format!("{seen:?}\n")).collect();
        let lines = lines.concat();
        return Some(format!("no order of these is allowed, on session {session}:\n{lines}"));
    }
    None
}

/// A history is linearizable if and only if that of each session is: what is done to a user's
/// sessions is something done to each, at a moment of its own.
fn seen_by(session: usize, history: &History) -> Vec<Seen> {
    let seen = |event: &Event| match event {
        Event::Asked(id, asked) => {
            let op = match asked {
                Asked::Session(other, op) => (*other == session).then(|| op.clone()),
                Asked::List(user) => Some(Op::List { user: *user }),
                Asked::DestroyUser(user, except) => {
                    (*except != Some(session)).then_some(Op::DestroyUser { user: *user })
                }
            };
            op.map(|op| Seen::Asked(*id, op))
        }
        Event::Told(id, told) => {
            let answer = match told {
                Told::Session(answer) => answer.clone(),
                Told::Listed(lines) => Answer::Listed(lines[session].clone()),
                Told::Ended => Answer::Ended,
            };
            Some(Seen::Told(*id, answer))
        }
    };
    let mut asked = Vec::new();
    let events = history.events.iter().filter_map(seen);
    // No answers to what was asked of others.
    events
        .filter(|seen| match seen {
            Seen::Asked(id, _) => {
                asked.push(*id);
                true
            }
            Seen::Told(id, _) => asked.contains(id),
        })
        .collect()
}

fn reads(events: &[Seen]) -> Vec<usize> {
    let read = |seen: &Seen| match seen {
        Seen::Asked(id, op) if op.is_read() => Some(*id),
        _ => None,
    };
    events.iter().filter_map(read).collect()
}

/// Each operation is a thread of its own: one that never had an answer may still be done while the
/// task that asked goes on.
fn is_linearizable(events: &[Seen]) -> bool {
    let mut tester = LinearizabilityTester::new(Session::default());
    for seen in events {
        let noted = match seen {
            Seen::Asked(id, op) => tester.on_invoke(*id, op.clone()),
            Seen::Told(id, answer) => tester.on_return(*id, answer.clone()),
        };
        noted.expect("each operation is asked once, and answered once");
    }
    tester.is_consistent()
}
