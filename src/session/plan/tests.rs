//! What a commit has to do, said a second time as laws over whole runs, and checked on every run
//! there can be: each situation with each sequence of answers.

use proptest::prelude::*;

use super::*;

/// A plan carried out to its end.
#[derive(Debug)]
struct Run {
    situation: Situation,
    trace: Vec<(Step, Answer)>,
    outcome: Outcome,
}

impl Run {
    fn steps(&self) -> impl Iterator<Item = Step> {
        self.trace.iter().map(|(step, _)| *step)
    }

    /// The steps before the ends of other sessions.
    fn main(&self) -> impl Iterator<Item = (Step, Answer)> {
        self.trace.iter().copied().filter(|(step, _)| !matches!(step, Step::End(_)))
    }

    fn main_steps(&self) -> impl Iterator<Item = Step> {
        self.main().map(|(step, _)| step)
    }

    fn end_failed(&self) -> bool {
        self.count(|step, answer| matches!(step, Step::End(_)) && answer == Answer::Failed) > 0
    }

    /// Whether this is the outcome, but for other sessions that could not be ended.
    fn comes_to(&self, outcome: Outcome) -> bool {
        let verdict = if self.end_failed() { Verdict::Failed } else { outcome.verdict };
        self.outcome == Outcome { verdict, ..outcome }
    }

    fn has(&self, step: Step) -> bool {
        self.steps().any(|taken| taken == step)
    }

    fn got(&self, step: Step, answer: Answer) -> bool {
        self.trace.contains(&(step, answer))
    }

    fn count(&self, wanted: impl Fn(Step, Answer) -> bool) -> usize {
        self.trace.iter().filter(|(step, answer)| wanted(*step, *answer)).count()
    }

    /// How many tokens the client would be sent.
    fn tokens(&self) -> usize {
        self.count(|step, answer| {
            matches!(step, Step::Create | Step::Rotate) && answer == Answer::Done
        })
    }

    fn ends(&self) -> Vec<usize> {
        let index = |step| if let Step::End(index) = step { Some(index) } else { None };
        self.steps().filter_map(index).collect()
    }

    fn rotation_failed(&self) -> bool {
        self.got(Step::Rotate, Answer::Gone)
    }

    /// The request may be given a session, or has one.
    fn has_place(&self) -> bool {
        matches!(self.situation.standing, Standing::Vacant | Standing::Live)
    }

    /// Something is wanted that needs to be stored. Label, lifetime and rotation alone don't bring
    /// a session into being.
    fn wants(&self) -> bool {
        let Situation { standing, login, rotate, content, change, .. } = self.situation;
        login || content || ((rotate || change) && standing != Standing::Vacant)
    }

    fn wants_data(&self) -> bool {
        self.situation.change
    }
}

fn implies(premise: bool, conclusion: bool) -> Option<bool> {
    premise.then_some(conclusion)
}

/// A sentence about runs: `None` where it says nothing.
type Law = (&'static str, fn(&Run) -> Option<bool>);

/// What holds whatever the store answers.
const SAFETY: &[Law] = &[
    ("where nothing is wanted there is no step, and the response is kept", |run| {
        let idle = !run.wants() && !run.situation.touch;
        implies(idle, run.main().count() == 0 && run.comes_to(Outcome::KEPT))
    }),
    ("mere activity is one touch, and its failure changes nothing", |run| {
        let active =
            run.situation.touch && !run.wants() && run.situation.standing == Standing::Live;
        implies(active, run.main_steps().eq([Step::Touch]) && run.comes_to(Outcome::KEPT))
    }),
    ("a token that was replaced, or two of them, lead to no store call", |run| {
        implies(!run.has_place(), run.trace.is_empty() && run.outcome.verdict == Verdict::Kept)
    }),
    ("what such a request wanted is reported as dropped", |run| {
        let reason = match run.situation.standing {
            Standing::Superseded => Dropped::Superseded,
            Standing::Ambiguous => Dropped::Ambiguous,
            Standing::Vacant | Standing::Live => return None,
        };
        implies(run.wants(), run.outcome.dropped == Some(reason))
    }),
    ("after a server error nothing is stored but the activity", |run| {
        let failed = run.situation.head == Head::Failed;
        implies(failed, run.main_steps().all(|step| step == Step::Touch))
    }),
    ("what is void by a server error is reported, and the response stays the service's", |run| {
        let void = run.situation.head == Head::Failed && run.has_place() && run.wants();
        implies(
            void,
            run.comes_to(Outcome { dropped: Some(Dropped::ServerError), ..Outcome::KEPT }),
        )
    }),
    ("a new token comes into being only if the client can be given it", |run| {
        let open = run.situation.head == Head::Open;
        implies(!open, !run.has(Step::Create) && !run.has(Step::Rotate))
    }),
    ("where no cookie can be sent, data of a living session is stored all the same", |run| {
        let Situation { standing, head, .. } = run.situation;
        let data_only = standing == Standing::Live && head == Head::Cookieless && run.wants_data();
        implies(data_only, run.main_steps().eq([Step::Update]))
    }),
    ("a login, rotation or session that no cookie could tell of is reported", |run| {
        let Situation { standing, head, login, rotate, .. } = run.situation;
        let needs_cookie = login || rotate || standing == Standing::Vacant;
        let untold = head == Head::Cookieless && run.has_place() && run.wants() && needs_cookie;
        implies(
            untold,
            matches!(run.outcome.dropped, Some(Dropped::Cookieless | Dropped::Gone))
                || run.outcome.verdict == Verdict::Failed,
        )
    }),
    ("the client is sent one token at most", |run| Some(run.tokens() <= 1)),
    ("what came with a new token is not called dropped", |run| {
        implies(run.tokens() == 1, run.outcome.dropped.is_none() && !run.outcome.rotation_lost)
    }),
    ("a login is done, refused or failed, never lost in silence", |run| {
        let Situation { head, login, .. } = run.situation;
        let due = login && head == Head::Open && run.has_place();
        implies(due, run.tokens() == 1 || run.outcome.verdict != Verdict::Kept)
    }),
    ("no change is lost in silence", |run| {
        let stored = run.count(|step, answer| {
            matches!(step, Step::Create | Step::Update | Step::Rotate) && answer == Answer::Done
        });
        let told = run.outcome.dropped.is_some() || run.outcome.verdict != Verdict::Kept;
        implies(run.wants(), (stored == 1) != told || (stored == 1 && told && excused(run)))
    }),
    ("a session is made where there is none, or for a login", |run| {
        let due = run.situation.standing == Standing::Vacant || run.situation.login;
        implies(run.has(Step::Create), due)
    }),
    ("a living session is given up only when a look has shown that it can't be rotated", |run| {
        let replaced = run.situation.standing == Standing::Live && run.has(Step::Create);
        let looked = run.trace.iter().any(|(step, answer)| {
            *step == Step::Look
                && matches!(answer, Answer::Superseded | Answer::Expired | Answer::Revoked)
        });
        implies(replaced, run.rotation_failed() && looked)
    }),
    ("the session is looked at only when a login could not rotate it, and once", |run| {
        let looks = run.count(|step, _| step == Step::Look);
        implies(looks > 0, looks == 1 && run.situation.login && run.rotation_failed())
    }),
    (
        "401 comes of a session that was ended while its own user logged in, and of nothing else",
        |run| {
            let barred = run.situation.same_user && run.got(Step::Look, Answer::Revoked);
            Some((run.outcome.verdict == Verdict::Refused) == barred)
        },
    ),
    ("who is refused gets no session", |run| {
        let refused = run.outcome.verdict == Verdict::Refused;
        implies(refused, !run.has(Step::Create) && run.outcome.dropped == Some(Dropped::Gone))
    }),
    ("a rotation that lost stores its data with one update and makes no session", |run| {
        let lost = run.rotation_failed() && !run.situation.login;
        let expected: &[Step] =
            if run.wants_data() { &[Step::Rotate, Step::Update] } else { &[Step::Rotate] };
        implies(lost, run.outcome.rotation_lost && run.main_steps().eq(expected.iter().copied()))
    }),
    ("a rotation is lost only by one that was tried", |run| {
        implies(run.outcome.rotation_lost, run.rotation_failed())
    }),
    ("a vanished session drops the write and leaves the response as it is", |run| {
        let gone = run.got(Step::Update, Answer::Gone);
        implies(
            gone,
            run.outcome.dropped == Some(Dropped::Gone)
                && (run.outcome.verdict == Verdict::Kept || run.end_failed()),
        )
    }),
    ("a write of unknown outcome is not repeated, and nothing follows it", |run| {
        let last = run.main().count().saturating_sub(1);
        Some(run.main().take(last).all(|(_, answer)| answer != Answer::Failed))
    }),
    ("a failure is told", |run| {
        let failed = run.count(|step, answer| step != Step::Touch && answer == Answer::Failed);
        implies(failed > 0, run.outcome.verdict == Verdict::Failed)
    }),
    ("a full store drops what is anonymous, and fails a login", |run| {
        let told = if run.situation.login {
            run.outcome.verdict == Verdict::Failed
        } else {
            run.comes_to(Outcome { dropped: Some(Dropped::Full), ..Outcome::KEPT })
        };
        implies(run.got(Step::Create, Answer::Full), told)
    }),
    ("a taken key is tried again with another one, three times in all", |run| {
        let collisions =
            run.count(|step, answer| (step, answer) == (Step::Create, Answer::Collision));
        let failed = run.outcome.verdict == Verdict::Failed;
        implies(collisions > 0, collisions < 3 || (collisions == 3 && failed))
    }),
    ("other sessions end once no login is pending or it is stored, each once", |run| {
        let ends = run.ends();
        let expected =
            if run.situation.login && run.tokens() == 0 { 0 } else { run.situation.ends };
        Some(ends.iter().copied().eq(0..expected))
    }),
    ("other sessions end last", |run| {
        let first = run.steps().position(|step| matches!(step, Step::End(_)))?;
        Some(run.steps().skip(first).all(|step| matches!(step, Step::End(_))))
    }),
    ("a run is short", |run| {
        Some(run.trace.len() <= 2 + usize::from(CREATE_ATTEMPTS) + run.situation.ends)
    }),
];

/// What holds while the store keeps its contract and answers no step in a way that isn't the
/// step's.
const PROGRESS: &[Law] = &[
    ("if all goes well, everything goes in one call", |run| {
        let smooth = run.trace.iter().all(|(_, answer)| *answer == Answer::Done);
        implies(smooth, run.trace.len() - run.ends().len() <= 1)
    }),
    ("503 comes of a failure, of a store too full for a login, of three taken keys", |run| {
        let failed = run.count(|step, answer| step != Step::Touch && answer == Answer::Failed);
        let taken = run.count(|step, answer| (step, answer) == (Step::Create, Answer::Collision));
        let full = run.got(Step::Create, Answer::Full) && run.situation.login;
        let cause = failed > 0 || full || taken == usize::from(CREATE_ATTEMPTS);
        Some((run.outcome.verdict == Verdict::Failed) == cause)
    }),
];

/// Something was stored and something else was not, for a reason that is told: another session
/// could not be ended, the data of a rotation that can't be is stored without it.
fn excused(run: &Run) -> bool {
    run.end_failed() || run.outcome.dropped == Some(Dropped::Cookieless)
}

const ANSWERS: [Answer; 8] = [
    Answer::Done,
    Answer::Gone,
    Answer::Collision,
    Answer::Full,
    Answer::Superseded,
    Answer::Expired,
    Answer::Revoked,
    Answer::Failed,
];

/// What a store that keeps its contract can answer.
fn belongs(step: Step, answer: Answer) -> bool {
    use Answer::{Collision, Done, Expired, Failed, Full, Gone, Revoked, Superseded};
    match step {
        Step::Create => matches!(answer, Done | Collision | Full | Failed),
        Step::Update | Step::Rotate | Step::Touch => matches!(answer, Done | Gone | Failed),
        Step::Look => matches!(answer, Superseded | Expired | Revoked | Failed),
        Step::End(_) => matches!(answer, Done | Failed),
        Step::Done(_) => false,
    }
}

/// Every situation that a request can leave.
fn situations() -> impl Iterator<Item = Situation> {
    let standings = [Standing::Vacant, Standing::Live, Standing::Superseded, Standing::Ambiguous];
    let heads = [Head::Open, Head::Cookieless, Head::Failed];
    (0..4 * 3 * 3 * 64_usize).filter_map(move |number| {
        let flag = |bit: usize| number >> bit & 1 == 1;
        let rest = number >> 6;
        let situation = Situation {
            standing: standings[rest % 4],
            head: heads[rest / 4 % 3],
            login: flag(0),
            same_user: flag(1),
            rotate: flag(2),
            content: flag(3),
            change: flag(4),
            touch: flag(5),
            ends: rest / 12,
        };
        is_possible(&situation).then_some(situation)
    })
}

fn is_possible(situation: &Situation) -> bool {
    let Situation { standing, login, same_user, content, change, touch, ends, .. } = *situation;
    let is_live = standing == Standing::Live;
    // What an earlier login has left to end, it has left with a session of its own.
    let may_end = ends == 0 || login || is_live;
    (!same_user || (login && is_live)) && (!touch || is_live) && (!content || change) && may_end
}

/// Carries a plan out with every sequence of answers that `possible` lets through.
fn explore(situation: Situation, possible: fn(Step, Answer) -> bool, check: &mut impl FnMut(&Run)) {
    let mut open = vec![Vec::new()];
    while let Some(answers) = open.pop() {
        let run = replay(situation, &answers);
        match run {
            Ok(run) => check(&run),
            Err(step) => open.extend(
                ANSWERS.into_iter().filter(|answer| possible(step, *answer)).map(|answer| {
                    let mut longer = answers.clone();
                    longer.push(answer);
                    longer
                }),
            ),
        }
    }
}

/// The run with these answers, or the step that waits for another one.
fn replay(situation: Situation, answers: &[Answer]) -> Result<Run, Step> {
    let mut plan = Plan::new(situation);
    let mut trace = Vec::new();
    for answer in answers {
        trace.push((plan.step(), *answer));
        plan.answer(*answer);
    }
    match plan.step() {
        Step::Done(outcome) => Ok(Run { situation, trace, outcome }),
        step => Err(step),
    }
}

/// Checks the laws on all runs, and that none of them is empty.
fn check_all(laws: &[Law], possible: fn(Step, Answer) -> bool) -> usize {
    let mut applied = vec![0; laws.len()];
    let mut runs = 0;
    for situation in situations() {
        explore(situation, possible, &mut |run| {
            runs += 1;
            for ((name, law), applied) in laws.iter().zip(&mut applied) {
                if let Some(holds) = law(run) {
                    assert!(holds, "{name}: {run:#?}");
                    *applied += 1;
                }
            }
        });
    }
    for ((name, _), applied) in laws.iter().zip(applied) {
        assert!(applied > 0, "no run is a case of: {name}");
    }
    runs
}

#[test]
fn every_run_on_a_store_that_keeps_its_contract_obeys_the_laws() {
    let runs = check_all(&[SAFETY, PROGRESS].concat(), belongs);
    assert!(runs > 1000, "{runs}");
}

#[test]
fn every_run_is_safe_even_on_a_store_that_answers_at_random() {
    check_all(SAFETY, |_, _| true);
}

#[test]
fn a_plan_that_is_done_stays_done() {
    for situation in situations() {
        explore(situation, belongs, &mut |run| {
            for late in ANSWERS {
                let mut plan = Plan::new(situation);
                run.trace.iter().for_each(|(_, answer)| plan.answer(*answer));
                plan.answer(late);
                assert_eq!(plan.step(), Step::Done(run.outcome));
            }
        });
    }
}

fn any_situation() -> impl Strategy<Value = Situation> {
    let all: Vec<_> = situations().collect();
    (prop::sample::select(all), 0..200_usize)
        .prop_map(|(situation, ends)| Situation { ends, ..situation })
        .prop_filter("possible", is_possible)
}

proptest! {
    /// Any number of sessions to end, which can't be enumerated.
    #[test]
    fn the_laws_hold_for_any_number_of_sessions_to_end(
        situation in any_situation(),
        picks in prop::collection::vec(prop::sample::select(ANSWERS.to_vec()), 300),
    ) {
        let mut plan = Plan::new(situation);
        let mut trace = Vec::new();
        for pick in picks {
            if matches!(plan.step(), Step::Done(_)) {
                break;
            }
            let answer = if belongs(plan.step(), pick) { pick } else { Answer::Done };
            let answer = if belongs(plan.step(), answer) { answer } else { Answer::Superseded };
            trace.push((plan.step(), answer));
            plan.answer(answer);
        }
        let Step::Done(outcome) = plan.step() else { panic!("no end after {trace:?}") };
        let run = Run { situation, trace, outcome };
        for (name, law) in [SAFETY, PROGRESS].concat() {
            prop_assert!(law(&run) != Some(false), "{}: {:#?}", name, run);
        }
    }
}
