//! Random requests of one browser, through the layer and a store, against what its user
//! should see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, StatusCode};
use proptest::prelude::*;
use tower_wristband::{Lifetime, Session, SessionErrorKind, SessionKey, testing::cookie_from};

use crate::{
    stores::Kind,
    support::{App, World, app, cookies_set, get, send, status, text, visit, world},
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 2] = ["alice", "bob"];

/// One call on the handle.
#[derive(Clone, Debug)]
enum Op {
    Insert(&'static str, i64),
    Remove(&'static str),
    Take(&'static str),
    Clear,
    LogIn(&'static str),
    LogOut,
    Rotate,
    SetLabel(u8),
    SetLifetime(Lifetime),
    Add(&'static str, i64),
    TakeOut(&'static str),
    Save,
    Reload,
}

/// One request: how long after the one before, what its handler does, whether it fails then.
#[derive(Clone, Debug)]
struct Visit {
    after: Duration,
    ops: Vec<Op>,
    fails: bool,
}

fn any_op() -> impl Strategy<Value = Op> {
    let name = || prop::sample::select(&NAMES[..]);
    let lifetime = prop::sample::select(vec![Lifetime::AAL1, Lifetime::AAL2, Lifetime::AAL3]);
    prop_oneof![
        4 => (name(), 0..100_i64).prop_map(|(name, value)| Op::Insert(name, value)),
        2 => name().prop_map(Op::Remove),
        2 => name().prop_map(Op::Take),
        1 => Just(Op::Clear),
        3 => prop::sample::select(&USERS[..]).prop_map(Op::LogIn),
        1 => Just(Op::LogOut),
        2 => Just(Op::Rotate),
        1 => (0..3_u8).prop_map(Op::SetLabel),
        1 => lifetime.prop_map(Op::SetLifetime),
        3 => (name(), 1..10_i64).prop_map(|(name, by)| Op::Add(name, by)),
        1 => name().prop_map(Op::TakeOut),
        2 => Just(Op::Save),
        1 => Just(Op::Reload),
    ]
}

fn any_visit() -> impl Strategy<Value = Visit> {
    let ops = prop::collection::vec(any_op(), 0..8);
    (0..600_u64, ops, prop::bool::weighted(0.1)).prop_map(|(seconds, ops, fails)| Visit {
        after: Duration::from_secs(seconds),
        ops,
        fails,
    })
}

type Data = BTreeMap<&'static str, i64>;

/// A session as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    /// Tells two sessions apart, as the key does.
    number: usize,
    user: Option<&'static str>,
    data: Data,
    label: Option<u8>,
}

/// What one request has and wants.
#[derive(Clone, Debug, Default)]
struct Handle {
    stored: Option<Stored>,
    /// What the browser still has if a login of somebody else comes to nothing.
    left_behind: Option<Stored>,
    login: Option<&'static str>,
    rotate: bool,
    label: Option<u8>,
    clears: bool,
    writes: BTreeMap<&'static str, Option<i64>>,
    /// The sessions that a login replaces.
    replaced: Vec<usize>,
    /// What the response has to say of the cookie.
    issues: bool,
    removes: bool,
}

impl Handle {
    fn user(&self) -> Option<&'static str> {
        self.login.or_else(|| self.stored.as_ref().and_then(|stored| stored.user))
    }

    fn value(&self, name: &str) -> Option<i64> {
        match self.writes.get(name) {
            Some(written) => *written,
            None if self.clears => None,
            None => self.stored.as_ref()?.data.get(name).copied(),
        }
    }

    fn forget_wishes(&mut self) {
        self.login = None;
        self.rotate = false;
        self.label = None;
        self.clears = false;
        self.writes.clear();
    }

    fn store_data(&mut self) {
        let Some(stored) = &mut self.stored else { return };
        if std::mem::take(&mut self.clears) {
            stored.data.clear();
        }
        for (name, value) in std::mem::take(&mut self.writes) {
            match value {
                Some(value) => drop(stored.data.insert(name, value)),
                None => drop(stored.data.remove(name)),
            }
        }
    }
}

/// All that there is: the sessions that live, and which of them the browser has.
#[derive(Debug, Default)]
struct Model {
    living: Vec<usize>,
    made: usize,
    browser: Option<Stored>,
}

impl Model {
    fn commit(&mut self, handle: &mut Handle) {
        if handle.stored.is_none() {
            if handle.login.is_none() && handle.writes.values().all(Option::is_none) {
                return;
            }
            self.made += 1;
            self.living.push(self.made);
            handle.stored = Some(Stored { number: self.made, ..Stored::default() });
            handle.issues = true;
        }
        handle.store_data();
        if let Some(stored) = &mut handle.stored {
            stored.user = handle.login.or(stored.user);
            stored.label = handle.label.or(stored.label);
        }
        if handle.login.is_some() {
            self.living.retain(|number| !handle.replaced.contains(number));
            handle.replaced.clear();
        }
        handle.issues |= handle.login.is_some() || handle.rotate;
        handle.forget_wishes();
    }

    /// What a call does, and what it answers: a value for those that return one.
    fn apply(&mut self, handle: &mut Handle, op: &Op) -> Option<i64> {
        match *op {
            Op::Insert(name, value) => drop(handle.writes.insert(name, Some(value))),
            Op::Remove(name) | Op::Take(name) => {
                let value = handle.value(name);
                if value.is_some() {
                    handle.writes.insert(name, None);
                }
                return value.filter(|_| matches!(op, Op::Take(_)));
            }
            Op::Clear => {
                handle.clears = true;
                handle.writes.clear();
            }
            Op::LogIn(user) => {
                if handle.user().is_some_and(|current| current != user) {
                    if let Some(stored) = handle.stored.take() {
                        handle.replaced.push(stored.number);
                        handle.left_behind = Some(stored);
                    }
                    handle.forget_wishes();
                }
                handle.login = Some(user);
            }
            Op::LogOut => {
                handle.replaced.extend(handle.stored.take().map(|stored| stored.number));
                self.living.retain(|number| !handle.replaced.contains(number));
                *handle = Handle { removes: true, ..Handle::default() };
            }
            Op::Rotate | Op::SetLifetime(_) => handle.rotate = true,
            Op::SetLabel(label) => handle.label = Some(label),
            Op::Add(name, _) | Op::TakeOut(name) => {
                let value = match *op {
                    Op::Add(_, by) => Some(handle.value(name).unwrap_or(0) + by),
                    _ => None,
                };
                if handle.stored.is_none() {
                    handle.writes.insert(name, value);
                    self.commit(handle);
                } else if handle.clears {
                    handle.writes.insert(name, value);
                    handle.store_data();
                } else {
                    let others = std::mem::take(&mut handle.writes);
                    handle.writes.insert(name, value);
                    handle.store_data();
                    handle.writes = others;
                    handle.writes.remove(name);
                }
                return value;
            }
            Op::Save => self.commit(handle),
            Op::Reload => {}
        }
        None
    }
}

/// The same call on the real handle.
async fn carry_out(session: &Session, op: &Op) -> Option<i64> {
    match *op {
        Op::Insert(name, value) => session.insert(name, &value).unwrap(),
        Op::Remove(name) => session.remove(name).unwrap(),
        Op::Take(name) => return session.take(name).unwrap(),
        Op::Clear => session.clear().unwrap(),
        Op::LogIn(user) => session.log_in(user).unwrap(),
        Op::LogOut => session.log_out().await.unwrap(),
        Op::Rotate => session.rotate().unwrap(),
        Op::SetLabel(label) => session.set_label(&label.to_string()).unwrap(),
        Op::SetLifetime(lifetime) => session.set_lifetime(lifetime).unwrap(),
        Op::Add(name, by) => {
            let add = |value: Option<i64>| Some(value.unwrap_or(0) + by);
            return session.update(name, add).await.unwrap();
        }
        Op::TakeOut(name) => return session.update(name, |_: Option<i64>| None).await.unwrap(),
        Op::Save => session.save().await.unwrap(),
        Op::Reload => match session.reload().await {
            Ok(()) => assert!(session.key().is_some()),
            Err(error) => {
                assert_eq!(error.kind(), SessionErrorKind::Gone);
                assert_eq!(session.key(), None);
            }
        },
    }
    None
}

/// What a handler sees: the user, the values, whether there is a stored session.
type View = (Option<String>, Vec<Option<i64>>, bool);

fn view(session: &Session) -> View {
    let values = NAMES.iter().map(|name| session.get(*name).unwrap()).collect();
    (session.user_id().map(|user| user.to_string()), values, session.key().is_some())
}

fn model_view(handle: &Handle) -> View {
    let values = NAMES.iter().map(|name| handle.value(name)).collect();
    (handle.user().map(Into::into), values, handle.stored.is_some())
}

/// What the handler of one request saw after each of its calls, and the session's key at the end.
type Log = Arc<Mutex<Vec<(Option<i64>, View)>>>;

fn handler(world: &World, request: &Visit, log: &Log) -> App {
    let (request, log) = (request.clone(), Arc::clone(log));
    app(&world.layer.optional(), move |session| {
        let (request, log) = (request.clone(), Arc::clone(&log));
        async move {
            for op in &request.ops {
                let answer = carry_out(&session, op).await;
                log.lock().unwrap().push((answer, view(&session)));
            }
            if request.fails { status(StatusCode::BAD_GATEWAY) } else { text("") }
        }
    })
}

/// What a request with this cookie sees, without writing anything.
async fn look(world: &World, cookie: Option<&HeaderValue>) -> (View, Option<SessionKey>) {
    let seen = Arc::new(Mutex::new(None));
    let note = Arc::clone(&seen);
    let app = app(&world.layer.optional(), move |session| {
        *note.lock().unwrap() = Some((view(&session), session.key()));
        async { text("") }
    });
    match cookie {
        Some(cookie) => visit(&app, cookie).await,
        None => send(&app, get("/")).await,
    };
    seen.lock().unwrap().take().expect("it was called")
}

async fn check(requests: Vec<Visit>) {
    let world = world();
    let mut model = Model::default();
    let mut keys: BTreeMap<usize, SessionKey> = BTreeMap::new();
    let mut cookie: Option<HeaderValue> = None;
    let mut old_cookies: Vec<HeaderValue> = Vec::new();

    for request in requests {
        world.clock.advance(request.after);
        let log = Log::default();
        let app = handler(&world, &request, &log);
        let response = match &cookie {
            Some(cookie) => visit(&app, cookie).await,
            None => send(&app, get("/")).await,
        };

        // In the handler, call by call.
        let mut handle = Handle { stored: model.browser.clone(), ..Handle::default() };
        let log = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!(log.len(), request.ops.len());
        for (op, (answer, seen)) in request.ops.iter().zip(&log) {
            assert_eq!(model.apply(&mut handle, op), *answer, "{op:?} in {request:#?}");
            assert_eq!(model_view(&handle), *seen, "after {op:?} in {request:#?}");
        }

        // The response.
        let expected = if request.fails { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        assert_eq!(response.status(), expected);
        if !request.fails {
            model.commit(&mut handle);
        }
        let removes = handle.removes && cookie.is_some();
        assert_eq!(cookies_set(&response), usize::from(handle.issues || removes), "{request:#?}");
        let sent = cookie_from(&response);
        assert_eq!(sent.is_some(), handle.issues, "{request:#?}");
        let replaced = if sent.is_some() || removes { cookie.take() } else { None };
        old_cookies.extend(replaced);
        if sent.is_some() {
            cookie = sent;
        }

        // What the browser has from now on. A failed request that would have logged somebody else in
        // leaves it what it had.
        model.browser = handle.stored.or(handle.left_behind);
        let expected = Handle { stored: model.browser.clone(), ..Handle::default() };
        let (seen, key) = look(&world, cookie.as_ref()).await;
        assert_eq!(seen, model_view(&expected), "after {request:#?}");

        // A key is stable for a session's life, and no other session has it.
        if let (Some(stored), Some(key)) = (&model.browser, key) {
            assert_eq!(*keys.entry(stored.number).or_insert(key), key);
            assert_eq!(keys.values().filter(|other| **other == key).count(), 1);
            assert_label(&world, stored, key).await;
        }

        // No cookie of before opens anything.
        for old in &old_cookies {
            let ((user, values, stored), key) = look(&world, Some(old)).await;
            assert_eq!((user, stored, key), (None, false, None), "{request:#?}");
            assert!(values.iter().all(Option::is_none));
        }
        assert_eq!(world.living().await, model.living.len(), "{request:#?}");
    }
}

async fn assert_label(world: &World, stored: &Stored, key: SessionKey) {
    let Some(user) = stored.user else { return };
    let user = user.try_into().unwrap();
    let page = tower_wristband::Page::first(100);
    let list = world.layer.sessions().list(&user, page).await.unwrap();
    let line = list.iter().find(|line| line.key() == key).expect("it is on the page of devices");
    assert_eq!(line.label().map(String::from), stored.label.map(|label| label.to_string()));
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Fewer where a case takes some hundred round trips.
fn config() -> ProptestConfig {
    ProptestConfig::with_cases(if Kind::chosen() == Kind::Memory { 512 } else { 32 })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_browser_sees_what_a_simple_model_says(
        requests in prop::collection::vec(any_visit(), 1..6),
    ) {
        on_a_runtime(check(requests));
    }
}
