//! What the checks share: sessions with what a store should keep of them, and how to compare.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::Violation;
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    lifetime::Lifetime,
    store::{
        Change, Proof, Record, Rotated, SessionKey, SessionStore, SessionSummary, SessionToken,
        Updated,
    },
    token::RandomSource,
    user::UserId,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// Long enough that nothing ends while a check runs, unless the check moves the time.
pub(super) const LIFETIME: Lifetime =
    Lifetime::new(Duration::from_secs(3600), Duration::from_secs(4 * 3600));

/// What a check found wrong.
pub(super) struct Failure(String);

pub(super) type Outcome = Result<(), Failure>;

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn of(self, point: u8, check: &'static str) -> Violation {
        Violation { of: "the store contract", point, check, message: self.0 }
    }

    pub(super) fn of_feed(self, point: u8) -> Violation {
        Violation { of: "what a feed promises", point, check: "check_feed", message: self.0 }
    }
}

impl<E: Error> From<E> for Failure {
    /// Errors that the contract doesn't know, with all their sources.
    fn from(error: E) -> Self {
        let mut message = format!("unexpected error: {error}");
        let mut source = error.source();
        while let Some(error) = source {
            message.push_str(&format!(": {error}"));
            source = error.source();
        }
        Self(message)
    }
}

/// A session, and the record that the store should keep of it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) key: SessionKey,
    pub(super) record: Record,
}

impl Known {
    /// A session of a new token, not stored yet.
    pub(super) fn new(
        change: &Change,
        lifetime: Lifetime,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let token = SessionToken::generate()?;
        let mut record = Record::new(token.proof(), lifetime, now);
        record.apply(change, now);
        Ok(Self { key: token.key(), record })
    }
}

/// The store that is checked, and when the check began.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) store: Arc<dyn SessionStore>,
    /// The system's time: a server that expires records by itself goes by that.
    pub(super) now: Timestamp,
}

impl Bench {
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self { store, now: SystemClock.now() }
    }

    /// Stores a session.
    pub(super) async fn create(
        &self,
        known: &Known,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Outcome {
        Ok(self.store.create(known.key, known.record.clone(), cap, now).await?)
    }

    /// An anonymous session with one field, stored.
    pub(super) async fn anonymous(&self) -> Result<Known, Failure> {
        let known = Known::new(&change()?.with_field("first", &1)?, LIFETIME, self.now)?;
        self.create(&known, None, self.now).await?;
        Ok(known)
    }

    /// A session that is bound to the user at `now`, stored.
    pub(super) async fn signed_in(
        &self,
        user: &UserId,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<Known, Failure> {
        let known = Known::new(&change()?.with_user(user.clone()), LIFETIME, now)?;
        self.create(&known, cap, now).await?;
        Ok(known)
    }

    /// An update that must succeed.
    pub(super) async fn update(
        &self,
        known: &mut Known,
        change: Change,
        now: Timestamp,
    ) -> Outcome {
        known.record.apply(&change, now);
        let logins = known.record.logins();
        let updated = self.store.update(known.key, change, logins, None, now).await?;
        ensure!(matches!(updated, Updated::Stored), "`update` of a living session: {updated:?}");
        Ok(())
    }

    /// A rotation that must succeed.
    pub(super) async fn rotate(
        &self,
        known: &mut Known,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Outcome {
        let (from, to) = (known.record.proof(), proof()?);
        known.record.replace_proof(to, &change, now);
        let rotated = self.store.rotate(known.key, from, to, change, cap, now).await?;
        ensure!(rotated == Rotated::Stored, "`rotate` of a living session: {rotated:?}");
        Ok(())
    }

    /// A touch that must succeed.
    pub(super) async fn touch(&self, known: &mut Known, now: Timestamp) -> Outcome {
        known.record.see(now);
        let alive = self.store.touch(known.key, known.record.logins(), now).await?;
        ensure!(alive, "`touch` of a living session answered that it has ended");
        Ok(())
    }

    pub(super) async fn load(
        &self,
        known: &Known,
        now: Timestamp,
    ) -> Result<Option<Record>, Failure> {
        Ok(self.store.load(known.key, known.record.proof(), now).await?)
    }

    /// The store keeps exactly what is known.
    pub(super) async fn keeps(&self, known: &Known, now: Timestamp) -> Outcome {
        let Some(found) = self.load(known, now).await? else {
            return Err(Failure::new("a living session isn't found"));
        };
        same(&known.record, &found)
    }

    /// The store has a living session of the key, whatever is in it.
    pub(super) async fn lives(&self, known: &Known, now: Timestamp) -> Outcome {
        let found = self.load(known, now).await?;
        ensure!(found.is_some(), "a living session isn't found");
        Ok(())
    }

    /// The store has no living session of the key.
    pub(super) async fn has_ended(&self, known: &Known, now: Timestamp) -> Outcome {
        let found = self.load(known, now).await?;
        ensure!(found.is_none(), "a session that has ended is still loaded");
        Ok(())
    }

    /// All of the user's sessions that are listed.
    pub(super) async fn list(
        &self,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionSummary>, Failure> {
        Ok(self.store.list(user.clone(), None, 1000, now).await?)
    }

    /// These and no other sessions are listed for the user, each as it is known.
    pub(super) async fn lists(&self, user: &UserId, known: &[&Known], now: Timestamp) -> Outcome {
        let mut known = known.to_vec();
        known.sort_by_key(|known| known.key);
        let listed = self.list(user, now).await?;
        ensure!(
            listed.iter().map(SessionSummary::key).eq(known.iter().map(|known| known.key)),
            "`list` shows {} sessions of the user (or in another order), not the expected {}",
            listed.len(),
            known.len(),
        );
        for (known, listed) in known.iter().zip(&listed) {
            let expected = known.record.summary(known.key);
            ensure!(*listed == expected, "`list` shows {listed:?}, not {expected:?}");
        }
        Ok(())
    }
}

/// Both records are the same in every part.
pub(super) fn same(expected: &Record, found: &Record) -> Outcome {
    macro_rules! compare {
        ($($part:ident),*) => {$(
            let (expected_part, found_part) = (expected.$part(), found.$part());
            ensure!(
                expected_part == found_part,
                "the record's {} is {found_part:?}, not {expected_part:?}",
                stringify!($part),
            );
        )*};
    }
    compare!(version, proof, rotated_at, logins, user, label, lifetime);
    compare!(created_at, authenticated_at, last_seen_at, expires_at);
    let names =
        |record: &Record| record.fields().map(|(name, _)| name.into()).collect::<Vec<String>>();
    let (expected_names, found_names) = (names(expected), names(found));
    ensure!(
        expected_names == found_names,
        "the record's fields are {found_names:?}, not {expected_names:?}",
    );
    for (name, value) in expected.fields() {
        ensure!(
            found.field(name) == Some(value),
            "the record's field {name:?} is {:?}, not {value:?}",
            found.field(name),
        );
    }
    Ok(())
}

/// A delta without content, of a new version.
pub(super) fn change() -> Result<Change, Failure> {
    Ok(Change::new(RandomSource::default().version()?))
}

/// The proof of a new token.
pub(super) fn proof() -> Result<Proof, Failure> {
    Ok(SessionToken::generate()?.proof())
}

/// A user whom nobody else has.
pub(super) fn user() -> Result<UserId, Failure> {
    user_like("")
}

/// A user whom nobody else has, with this at the end of the id.
pub(super) fn user_like(end: &str) -> Result<UserId, Failure> {
    Ok(UserId::new(format!("{}{end}", SessionToken::generate()?.key()))?)
}

/// The moment so long before.
pub(super) fn before(moment: Timestamp, duration: Duration) -> Timestamp {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_millis(moment.as_unix_millis().saturating_sub(millis))
}

/// Runs tasks at the same time, until all have ended or one has failed.
pub(super) async fn together<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = Result<T, Failure>> + Send + 'static>,
) -> Result<Vec<T>, Failure> {
    let mut running: JoinSet<_> = tasks.into_iter().collect();
    let mut results = Vec::new();
    while let Some(result) = running.join_next().await {
        results.push(result??);
    }
    Ok(results)
}
