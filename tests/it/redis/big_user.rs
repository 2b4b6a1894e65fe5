//! 100,000 sessions of one user: nothing takes memory or time without bound.

use std::time::{Duration, Instant};

use tower_wristband::{RedisStore, SessionKey, UserId, store::SessionStore};

use super::{Known, connect, now, on, user};
use crate::servers::Server;

const SESSIONS: usize = 100_000;

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

async fn big_user(server: &Server) -> (RedisStore, UserId) {
    let (store, user) = (on(server), user());
    let known = Known::of(&user);
    known.create(&store).await;
    let (session, index) = (format!("wristband:s:{}", known.key), format!("wristband:u:{user}"));
    let mut connection = connect(server).await;
    let copied: redis::RedisResult<()> = redis::cmd("EVAL")
        .arg(COPY)
        .arg(2)
        .arg(&[session, index])
        .arg(SESSIONS - 1)
        .query_async(&mut connection)
        .await;
    // The library's own limit may be shorter than this takes.
    drop(copied);
    crate::servers::until("all sessions are there", async || {
        server.ask("DBSIZE").trim() == format!(":{}", SESSIONS + 1)
    })
    .await;
    (store, user)
}

/// Generous: it takes well below that.
fn bounded(what: &str, start: Instant, seconds: u64) {
    let took = start.elapsed();
    assert!(took < Duration::from_secs(seconds), "{what} took {took:?}");
}

#[tokio::test]
async fn a_user_of_100000_sessions_is_listed_in_pages_logs_in_and_is_ended() {
    let server = Server::redis(&[]).await;
    let (store, user) = big_user(&server).await;

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let measured = std::thread::scope(|scope| {
        let (server, user) = (&server, &user);
        let measuring = scope.spawn(move || {
            let store = on(server);
            runtime.block_on(store.list(user.clone(), None, 1, now())).unwrap();
            allocation_counter::measure(|| {
                let page = runtime.block_on(store.list(user.clone(), after, 100, now()));
                assert_eq!(page.unwrap().len(), 100);
            })
        });
        measuring.join().unwrap()
    });
    assert!(measured.bytes_max < 2 << 20, "{measured:?}");

    let start = Instant::now();
    let login = Known::of(&user);
    store.create(login.key, login.record.clone(), Some(SESSIONS + 1), now()).await.unwrap();
    bounded("a login", start, 5);

    // Revoking the others, and a cap that is far exceeded.
    let start = Instant::now();
    let capped = Known::of(&user);
    store.create(capped.key, capped.record.clone(), Some(SESSIONS / 2), now()).await.unwrap();
    bounded("a login that ends half of them", start, 300);
    let start = Instant::now();
    let ended = store.destroy_user(user.clone(), Some(login.key), 0, now()).await.unwrap();
    assert_eq!(ended, SESSIONS / 2 - 1);
    bounded("ending all others", start, 300);
    assert_eq!(super::keys_of(&store, &user).await, [login.key]);
}
