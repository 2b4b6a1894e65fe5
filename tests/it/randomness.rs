//! Tokens can't be guessed: each is another one, and each bit is as likely set as not.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_wristband::{MemoryStore, SessionLayer, SessionToken, testing};

#[test]
fn tokens_made_by_many_threads_are_all_different() {
    const THREADS: usize = 64;
    const EACH: usize = 2000;
    let make = || -> Vec<_> {
        (0..EACH)
            .map(|_| {
                let token = SessionToken::generate().unwrap();
                (token.key(), *token.proof().as_bytes())
            })
            .collect()
    };
    let threads: Vec<_> = (0..THREADS).map(|_| std::thread::spawn(make)).collect();
    let made: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let keys: HashSet<_> = made.iter().map(|(key, _)| *key).collect();
    let proofs: HashSet<_> = made.iter().map(|(_, proof)| *proof).collect();
    assert_eq!((keys.len(), proofs.len()), (THREADS * EACH, THREADS * EACH));
}

#[tokio::test]
async fn every_bit_of_a_token_is_set_half_the_time() {
    const TOKENS: usize = 20_000;
    let layer = SessionLayer::new(MemoryStore::new());
    let mut set = [0_usize; 48 * 8];
    for number in 0..TOKENS {
        let cookie = testing::issue(&layer, number as u64).await;
        let wire = &cookie.as_bytes()["__Host-session=".len()..];
        let token = URL_SAFE_NO_PAD.decode(wire).unwrap();
        assert_eq!(token.len() * 8, set.len());
        for (bit, count) in set.iter_mut().enumerate() {
            *count += usize::from(token[bit / 8] >> (bit % 8) & 1);
        }
    }
    // 600 of 20,000 are eight and a half standard deviations, which are 70.7 each: of all 384 bits, a
    // fair generator fails this once in 10^14 runs.
    let (low, high) = (TOKENS * 47 / 100, TOKENS * 53 / 100);
    for (bit, count) in set.into_iter().enumerate() {
        assert!((low..=high).contains(&count), "bit {bit} is set {count} times of {TOKENS}");
    }
}
