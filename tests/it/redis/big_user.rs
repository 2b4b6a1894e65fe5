//! 100,000 sessions of one user: nothing takes memory or time without bound.

use std::time::{Duration, Instant};

use tower_wristband::{RedisStore, SessionKey, SessionLayer, UserId, store::SessionStore};

use super::{Known, connect, now, on, user};
use crate::servers::Server;

const SESSIONS: usize = 100_000;

/// Bytes for a part of the sessions, and for the keys and times of all of them.
const FEW: u64 = 2 << 20;
const MANY: u64 = 32 << 20;

/// Makes the user's session into so many.
const COPY: &str = "
    local entry = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    local score = redis.call('ZSCORE', KEYS[2], entry)
    for number = 1, tonumber(ARGV[1]) do
        local key = string.format('%08x%024x', number * 42949 % 4294967296, number)
        redis.call('COPY', KEYS[1], 'wristband:s:' .. key)
        local bytes = key:gsub('..', function(digits) return string.char(tonumber(digits, 16)) end)
        redis.call('ZADD', KEYS[2], score, bytes .. entry:sub(17))
    end";

async fn big_user(server: &Server, sessions: usize) -> (RedisStore, UserId) {
    let (store, user) = (on(server), user());
    let known = Known::of(&user);
    known.create(&store).await;
    let (session, index) = (format!("wristband:s:{}", known.key), format!("wristband:u:{user}"));
    let mut connection = connect(server).await;
    let copied: redis::RedisResult<()> = redis::cmd("EVAL")
        .arg(COPY)
        .arg(2)
        .arg(&[session, index])
        .arg(sessions - 1)
        .query_async(&mut connection)
        .await;
    // The library's own limit may be shorter than this takes.
    drop(copied);
    crate::servers::until("all sessions are there", async || {
        server.ask("DBSIZE").trim() == format!(":{}", sessions + 1)
    })
    .await;
    (store, user)
}

/// Generous: it takes well below that.
fn bounded(what: &str, start: Instant, seconds: u64) {
    let took = start.elapsed();
    assert!(took < Duration::from_secs(seconds), "{what} took {took:?}");
}

/// The most memory that this takes at any time, on a store that has connected.
fn memory(server: &Server, call: impl AsyncFnOnce(&RedisStore) + Send) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        let measuring = scope.spawn(move || {
            let store = on(server);
            runtime.block_on(store.check(now())).unwrap();
            allocation_counter::measure(|| runtime.block_on(call(&store))).bytes_max
        });
        measuring.join().unwrap()
    })
}

#[tokio::test]
async fn a_user_of_100000_sessions_is_listed_in_pages_logs_in_and_is_ended() {
    let server = Server::redis(&[]).await;
    let (store, user) = big_user(&server, SESSIONS).await;

    let start = Instant::now();
    let mut after: Option<SessionKey> = None;
    for _ in 0..3 {
        let page = store.list(user.clone(), after, 100, now()).await.unwrap();
        assert_eq!(page.len(), 100);
        assert!(page.iter().all(|session| Some(session.key()) > after));
        assert!(page.is_sorted_by_key(|session| session.key()));
        after = page.last().map(tower_wristband::SessionSummary::key);
    }
    bounded("three pages", start, 30);

    // A page takes as much memory as a page has, whatever the user has.
    let page = memory(&server, async |store| {
        let page = store.list(user.clone(), after, 100, now()).await;
        assert_eq!(page.unwrap().len(), 100);
    });
    assert!(page < FEW, "a page takes {page} bytes");

    // A login that ends nobody needs to know nobody.
    let start = Instant::now();
    let login = Known::of(&user);
    let kept = memory(&server, async |store| {
        let (record, cap) = (login.record.clone(), Some(SESSIONS + 1));
        store.create(login.key, record, cap, now()).await.unwrap();
    });
    bounded("a login", start, 5);
    assert!(kept < FEW, "a login takes {kept} bytes");
    // A cap that is far exceeded: it has to know which are the newest, whatever is in them.
    let start = Instant::now();
    let capped = Known::of(&user);
    let half = memory(&server, async |store| {
        let (record, cap) = (capped.record.clone(), Some(SESSIONS / 2));
        store.create(capped.key, record, cap, now()).await.unwrap();
    });
    bounded("a login that ends half of them", start, 300);
    assert!(half < MANY, "a login that ends half of them takes {half} bytes");

    // Revoking the others.
    let start = Instant::now();
    let others = memory(&server, async |store| {
        let ended = store.destroy_user(user.clone(), Some(login.key), 0, now()).await;
        assert_eq!(ended.unwrap(), SESSIONS / 2 - 1);
    });
    bounded("ending all others", start, 300);
    assert!(others < FEW, "ending all others takes {others} bytes");
    assert_eq!(super::keys_of(&store, &user).await, [login.key]);
}

#[tokio::test]
async fn the_sessions_of_a_big_user_are_counted_in_pages() {
    // Each page goes through all of them: fewer, so that it doesn't take minutes.
    let sessions = SESSIONS / 10;
    let server = Server::redis(&[]).await;
    let (_, user) = big_user(&server, sessions).await;
    let start = Instant::now();
    let counting = memory(&server, async |store| {
        let layer = SessionLayer::builder(store.clone()).store_timeout(Duration::from_secs(60));
        let count = layer.build().unwrap().sessions().count(&user).await;
        assert_eq!(count.unwrap(), sessions);
    });
    bounded("counting", start, 120);
    assert!(counting < FEW, "counting takes {counting} bytes");
}
