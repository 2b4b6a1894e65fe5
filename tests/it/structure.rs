//! The shape of the source: which module may know which, and what every public type can be used for.

use std::{
    fs,
    panic::{RefUnwindSafe, UnwindSafe},
    path::{Path, PathBuf},
};

use tower_wristband::{
    Access, CachedStore, ConfigError, ConfigErrorKind, DefaultRejection, EndReason, Field,
    Lifetime, MemoryStore, MissingLayer, MySqlStore, NotSignedIn, Page, PostgresStore,
    RedirectToLogin, Rejection, RejectionKind, Session, SessionCookie, SessionError,
    SessionErrorKind, SessionKey, SessionLayer, SessionLayerBuilder, SessionService,
    SessionSummary, SessionToken, Sessions, SqliteStore, StoreError, StoreErrorKind, Sweeper,
    SystemClock, Timestamp, UserId,
    cookie::SameSite,
    future::{Ended, ResponseFuture},
    store::{
        CacheStatistics, CachedStoreBuilder, Change, ChangeParts, FeedEvent, FeedSender,
        FieldChanges, Heartbeat, Proof, Record, RecordParts, Rotated, SessionStore, Stamp,
        StoreFuture, SweeperBuilder, Updated,
    },
    testing::{Fault, Faults, FaultyStore, Gate, ManualClock, Operation},
};

/// A module imports only modules in front of it.
const ORDER: [&str; 29] = [
    "sync",
    "error",
    "clock",
    "token",
    "pause",
    "user",
    "lifetime",
    "field",
    "record",
    "cookie",
    "headers",
    "report",
    "store",
    "within",
    "watch",
    "client",
    "config",
    "session",
    "sessions",
    "rejection",
    "admission",
    "mount",
    "future",
    "service",
    "layer",
    "extract",
    "testing",
    "internals",
    "lib",
];

struct Source {
    path: PathBuf,
    /// The top-level module it belongs to.
    module: String,
    text: String,
}

/// All of `src` but the unit tests, which may look at everything.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_stem().is_some_and(|name| name != "tests")
            {
                let top = path.strip_prefix(&root).unwrap().iter().next().unwrap();
                let module = Path::new(top).file_stem().unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
                found.push(Source { path, module, text: code.to_owned() });
            }
        }
    }
    assert!(found.len() > 20);
    found
}

/// The lines without comments and documentation.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The top-level modules that the source names: `crate::name`, or one of `use crate::{…}`.
fn imports(source: &Source) -> Vec<String> {
    let text: String = code(&source.text).flat_map(|line| [line, "\n"]).collect();
    let mut names = Vec::new();
    for (at, path) in text.match_indices("crate::") {
        // `$crate` of a macro, and the end of another word.
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(first_level(group)),
            None => names.extend(identifier(rest)),
        }
    }
    names
}

/// The first part of each path in a `{…}` group, whose opening brace is gone.
fn first_level(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.extend(identifier(group[start..at].trim()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.extend(identifier(group[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

#[test]
fn modules_import_only_modules_in_front_of_them() {
    let mut seen = 0;
    for source in sources() {
        let own = rank(&source.module)
            .unwrap_or_else(|| panic!("`{}` is not in the order of the modules", source.module));
        for import in imports(&source).into_iter().filter(|import| *import != source.module) {
            let theirs = rank(&import).unwrap_or_else(|| {
                panic!("{}: `crate::{import}` is not a module of the order", source.path.display())
            });
            assert!(
                theirs < own,
                "{}: `{}` must not know `{import}`",
                source.path.display(),
                source.module,
            );
            seen += 1;
        }
    }
    assert!(seen > 60, "imports are found: {seen}");
}

#[test]
fn every_module_of_the_order_exists() {
    let sources = sources();
    for module in ORDER {
        assert!(sources.iter().any(|source| source.module == module), "{module}");
    }
}

#[test]
fn imports_are_read_in_all_their_forms() {
    let text = "use crate::{\n    a::{x, y},\n    b, c::d,\n};\nuse crate::e::f;\n// crate::no\n\
                fn g(_: crate::h::I) { $crate::j!(); }";
    let source = Source { path: PathBuf::new(), module: "m".into(), text: text.into() };
    assert_eq!(imports(&source), ["a", "b", "c", "e", "h", "j"]);
}

#[test]
fn the_root_has_no_items_of_its_own() {
    let root = sources().into_iter().find(|source| source.module == "lib").unwrap();
    for line in code(&root.text) {
        let first = line.trim_start().trim_start_matches("pub ").split(' ').next().unwrap();
        let item = ["struct", "enum", "trait", "fn", "impl", "type", "const", "static", "union"];
        assert!(!item.contains(&first), "lib.rs: {line}");
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    let sources = sources();
    let root = sources.iter().find(|source| source.module == "lib").unwrap();
    assert!(code(&root.text).any(|line| line == "#![forbid(unsafe_code)]"));
    for source in &sources {
        let found = code(&source.text).any(|line| line.contains("unsafe {"));
        assert!(!found, "{}", source.path.display());
    }
}

#[test]
fn nothing_is_printed_and_only_the_clock_reads_the_time() {
    for source in sources() {
        for forbidden in ["println!", "print!(", "eprintln!", "dbg!", "todo!", "unimplemented!"] {
            let found = code(&source.text).find(|line| line.contains(forbidden));
            assert_eq!(found, None, "{}", source.path.display());
        }
        if source.module == "clock" {
            continue;
        }
        for clock in ["SystemTime::now", "UNIX_EPOCH", "time::Instant::now"] {
            let found = code(&source.text).find(|line| line.contains(clock));
            assert_eq!(found, None, "{}", source.path.display());
        }
        // tokio's, which tests can pause, measures how long the store is waited for.
        let text: String = code(&source.text).collect();
        for import in text.split("use std::").skip(1).filter_map(|rest| rest.split(';').next()) {
            assert!(!import.contains("Instant"), "{}: {import}", source.path.display());
        }
    }
}

/// Rows of tables and addresses can't be broken.
#[test]
fn no_line_is_longer_than_100_characters() {
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            let comment = line.trim_start().trim_start_matches(['/', '!']);
            let is_whole = comment.starts_with(" |") || comment.starts_with(" https://");
            let fits = is_whole || line.chars().count() <= 100;
            assert!(fits, "{}:{}", source.path.display(), at + 1);
        }
    }
}

#[test]
fn only_the_token_module_makes_random_bytes_and_compares_secrets() {
    for source in sources().into_iter().filter(|source| source.module != "token") {
        for word in ["SysRng", "subtle::", "ct_eq", "rand::", "Sha256", "as_bytes() =="] {
            let found = code(&source.text).find(|line| line.contains(word));
            assert_eq!(found, None, "{}", source.path.display());
        }
    }
}

type Inner = std::convert::Infallible;
type Body = String;

fn shareable<T: Send + Sync + Unpin + 'static>() {}

fn survives_panics<T: UnwindSafe + RefUnwindSafe>() {}

fn counted<T: Copy + Eq + std::hash::Hash>() {}

#[test]
fn public_types_cross_threads() {
    macro_rules! each {
        ($($type:ty),* $(,)?) => {$( shareable::<$type>(); )*};
    }
    each!(
        Access,
        CacheStatistics,
        CachedStore,
        CachedStoreBuilder,
        Change,
        ChangeParts<'static>,
        RecordParts<'static>,
        ConfigError,
        ConfigErrorKind,
        DefaultRejection,
        EndReason,
        Ended,
        Fault,
        Faults,
        FaultyStore<MemoryStore>,
        FeedEvent,
        FeedSender,
        Field<std::rc::Rc<u32>>,
        FieldChanges<'static>,
        Gate,
        Heartbeat,
        Lifetime,
        ManualClock,
        MemoryStore,
        MissingLayer,
        MySqlStore,
        NotSignedIn,
        Operation,
        Page,
        PostgresStore,
        Proof,
        Record,
        RedirectToLogin,
        Rejection<'static>,
        RejectionKind,
        Rotated,
        SameSite,
        Session,
        SessionCookie,
        SessionError,
        SessionErrorKind,
        SessionKey,
        SessionLayer,
        SessionLayerBuilder,
        SessionService<Inner, DefaultRejection>,
        SessionSummary,
        SessionToken,
        Sessions,
        SqliteStore,
        Stamp,
        StoreError,
        StoreErrorKind,
        Sweeper,
        SweeperBuilder,
        SystemClock,
        Timestamp,
        Updated,
        UserId,
        std::sync::Arc<dyn SessionStore>,
    );
}

#[test]
fn values_can_be_kept_through_a_panic() {
    macro_rules! each {
        ($($type:ty),* $(,)?) => {$( survives_panics::<$type>(); )*};
    }
    each!(
        Access,
        Change,
        ConfigErrorKind,
        Field<u32>,
        Lifetime,
        Page,
        Proof,
        Record,
        RejectionKind,
        SessionCookie,
        SessionErrorKind,
        SessionKey,
        SessionSummary,
        SessionToken,
        StoreErrorKind,
        Timestamp,
        UserId,
    );
}

#[test]
fn kinds_can_be_counted_in_a_map() {
    counted::<(Access, ConfigErrorKind, EndReason, Lifetime, Page, RejectionKind, SameSite)>();
    counted::<(SessionErrorKind, SessionKey, StoreErrorKind, Timestamp)>();
}

/// A service whose future is not `Sync`, as most are.
#[derive(Clone)]
struct Boxed;

impl tower::Service<http::Request<Body>> for Boxed {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        Box::pin(std::future::ready(Ok(http::Response::new(Body::new()))))
    }
}

#[test]
fn futures_can_be_spawned() {
    fn spawnable<F: Future + Send + 'static>() {}
    fn sent<T: Send>(value: T) -> T {
        value
    }
    spawnable::<ResponseFuture<Boxed, Body, DefaultRejection>>();
    spawnable::<StoreFuture<Option<Record>>>();
    spawnable::<Ended>();

    let session = tower_wristband::testing::signed_in("alice");
    drop(sent(session.save()));
    drop(sent(session.log_out()));
    drop(sent(session.reload()));
    drop(sent(session.touch()));
    drop(sent(session.update("n", |n: Option<u32>| n)));
    let sessions = SessionLayer::new(MemoryStore::new()).sessions();
    let alice = UserId::try_from("alice").unwrap();
    drop(sent(sessions.check()));
    drop(sent(sessions.list(&alice, Page::first(1))));
    drop(sent(sessions.count(&alice)));
    drop(sent(sessions.revoke_user(&alice)));
    drop(sent(sessions.revoke_others(&session)));
}
