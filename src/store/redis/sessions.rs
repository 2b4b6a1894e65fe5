//! One session: each write is one script on its key.

use std::sync::Arc;

use futures_util::future::join;
use redis::{Cmd, Value};

use super::{
    RedisStore,
    error::{store_error, unexpected},
    format::{self, Entry},
    logins::Index,
    reply,
    script::{CREATE, DESTROY, ROTATE, Script, TOUCH, UPDATE},
    users::Seen,
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    lifetime::Lifetime,
    record::{Change, Record, Rotated, Updated},
    token::{Proof, RandomSource, SessionKey},
    user::UserId,
};

/// How often a login is tried whose session gets another lifetime meanwhile.
const ATTEMPTS: usize = 4;

/// What has been written to the index before a change.
#[derive(Default)]
struct Announced {
    /// The user that the change binds.
    login: Option<(UserId, Entry)>,
    /// The lifetime that the session has to have still.
    foreseen: Option<Lifetime>,
    index: Index,
}

/// What `destroy` has removed.
pub(super) struct Removed {
    pub(super) was_alive: bool,
    /// Its place in the index of its user.
    pub(super) indexed: Option<(UserId, Entry)>,
}

impl RedisStore {
    /// What each request waits for: so it takes no more along than it needs.
    pub(super) fn load_record(
        &self,
        key: SessionKey,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + use<> {
        let (link, command) = (Arc::clone(&self.link), self.get(key));
        async move {
            let answer = link.send(&command).await.map_err(store_error)?;
            Ok(format::record(&answer)?.filter(|record| record.is_alive(now)))
        }
    }

    /// The answer that [`format::record`] reads, or [`format::head`].
    pub(super) async fn ask_for_record(&self, key: SessionKey) -> Result<Value, StoreError> {
        self.link.send(&self.get(key)).await.map_err(store_error)
    }

    fn get(&self, key: SessionKey) -> Cmd {
        let key = self.session(key);
        let mut command = Cmd::with_capacity(2, "GET".len() + key.len());
        command.arg("GET").arg(key);
        command
    }

    pub(super) async fn create_record(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut announced = Announced::default();
        if let Some(user) = record.user() {
            let entry = Entry::new(key, record.started_at());
            announced.index =
                self.announce(user, entry, record.absolute_deadline(), cap, now).await?;
            announced.login = Some((user.clone(), entry));
        }
        let arguments = [format::of_record(&record)];
        let (answer, others) = self.write_seeing(&CREATE, key, &arguments, &announced, now).await;
        match reply::code(&answer?)? {
            0 => Err(StoreError::new(StoreErrorKind::Collision)),
            _ => {
                self.enforce(announced.login, cap, &announced.index, others, now).await;
                Ok(())
            }
        }
    }

    pub(super) async fn update_record(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> Result<Updated, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(announced) = self.prepare(key, &change, None, now).await? else {
                return Ok(Updated::Gone);
            };
            let expect = expect.map(|version| Vec::from(version.to_be_bytes())).unwrap_or_default();
            let mut arguments = vec![logins.to_string().into_bytes(), expect];
            arguments.extend(format::of_change(change.parts(), announced.foreseen));
            let answer = self.write(&UPDATE, key, &arguments, now).await?;
            if let Some([Value::Int(2), current]) = reply::list(&answer) {
                return Ok(Updated::Conflict(format::record(current)?.map(Box::new)));
            }
            match reply::code(&answer)? {
                0 => return Ok(Updated::Gone),
                1 => return Ok(Updated::Stored),
                _ => {}
            }
        }
        Err(keeps_changing())
    }

    pub(super) async fn rotate_record(
        &self,
        key: SessionKey,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<Rotated, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(announced) = self.prepare(key, &change, cap, now).await? else {
                return Ok(Rotated::Gone);
            };
            let mut arguments = vec![from.as_bytes().into(), to.as_bytes().into()];
            arguments.extend(format::of_change(change.parts(), announced.foreseen));
            let (answer, others) =
                self.write_seeing(&ROTATE, key, &arguments, &announced, now).await;
            match reply::code(&answer?)? {
                0 => return Ok(Rotated::Gone),
                1 => {
                    self.enforce(announced.login, cap, &announced.index, others, now).await;
                    return Ok(Rotated::Stored);
                }
                2 => return Ok(Rotated::Stored),
                _ => {}
            }
        }
        Err(keeps_changing())
    }

    pub(super) async fn touch_record(
        &self,
        key: SessionKey,
        logins: u32,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let arguments = [logins.to_string().into_bytes()];
        let answer = self.write(&TOUCH, key, &arguments, now).await?;
        Ok(reply::code(&answer)? == 1)
    }

    /// Ends one session and takes it out of the index of its user.
    pub(super) async fn destroy_record(
        &self,
        key: SessionKey,
        owner: Option<UserId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(removed) = self.remove_record(key, owner.as_ref(), None, now).await? else {
            return Ok(false);
        };
        if let Some((user, entry)) = removed.indexed {
            // The session has ended, whatever becomes of the hint.
            _ = self.forget(&user, entry.members()).await;
        }
        Ok(removed.was_alive)
    }

    /// Ends one session; if a login is named, only as long as there was no other on it since.
    pub(super) async fn remove_record(
        &self,
        key: SessionKey,
        owner: Option<&UserId>,
        login: Option<Entry>,
        now: Timestamp,
    ) -> Result<Option<Removed>, StoreError> {
        let owner = owner.map_or("", UserId::as_str).into();
        let login = login.map_or(Vec::new(), |entry| entry.authenticated.into());
        let answer = self.write(&DESTROY, key, &[owner, login], now).await?;
        let Some([code, authenticated, user]) = reply::list(&answer) else {
            return Err(unexpected());
        };
        let indexed = reply::bytes(user).zip(reply::bytes(authenticated));
        let indexed = indexed.and_then(|(user, authenticated)| {
            let user = UserId::new(std::str::from_utf8(user).ok()?).ok()?;
            Some((user, Entry::read(key, authenticated)?))
        });
        Ok(match reply::code(code)? {
            0 => None,
            code => Some(Removed { was_alive: code == 1, indexed }),
        })
    }

    /// Writes to the index what has to be there before the change: a user who is to be bound, and a
    /// lifetime that may grow. Nothing if there is no such session.
    async fn prepare(
        &self,
        key: SessionKey,
        change: &Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<Option<Announced>, StoreError> {
        let parts = change.parts();
        let mut announced = Announced::default();
        let (user, start, lifetime) = match (parts.user, parts.lifetime) {
            (None, None) => return Ok(Some(announced)),
            (Some(user), Some(lifetime)) => (user.clone(), now, lifetime),
            (login, lifetime) => {
                let Some(record) = format::head(&self.ask_for_record(key).await?)? else {
                    return Ok(None);
                };
                if lifetime.is_none() {
                    announced.foreseen = Some(record.lifetime());
                }
                let lifetime = lifetime.unwrap_or(record.lifetime());
                match (login, record.user()) {
                    (Some(user), _) => (user.clone(), now, lifetime),
                    (None, Some(user)) => (user.clone(), record.started_at(), lifetime),
                    // A login in between changes `logins` and the proof: the change will be
                    // refused.
                    (None, None) => return Ok(Some(announced)),
                }
            }
        };
        let entry = Entry::new(key, start);
        let deadline = lifetime.absolute_deadline(start);
        announced.index = self.announce(&user, entry, deadline, cap, now).await?;
        announced.login = parts.user.is_some().then_some((user, entry));
        Ok(Some(announced))
    }

    /// Runs a script, and looks at the user's other sessions at the same time.
    async fn write_seeing(
        &self,
        script: &Script,
        key: SessionKey,
        arguments: &[Vec<u8>],
        announced: &Announced,
        now: Timestamp,
    ) -> (Result<Value, StoreError>, Result<Vec<Seen>, StoreError>) {
        let writing = self.write(script, key, arguments, now);
        match &announced.login {
            Some((user, entry)) => {
                join(writing, self.look(user, announced.index.others(entry.key), now)).await
            }
            None => (writing.await, Ok(Vec::new())),
        }
    }

    /// Runs a script on a session, under an id by which it is known if it is delivered twice.
    async fn write(
        &self,
        script: &Script,
        key: SessionKey,
        arguments: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<Value, StoreError> {
        let id = RandomSource::default().version();
        let id = id.map_err(|error| StoreError::with_source(StoreErrorKind::Other, error))?;
        let (id, now) = (id.to_be_bytes(), format::of_time(now));
        let head: [&[u8]; 2] = [&id, &now];
        let all: Vec<&[u8]> = head.into_iter().chain(arguments.iter().map(Vec::as_slice)).collect();
        script.run(&self.link, &self.session(key), &all).await.map_err(store_error)
    }
}

fn keeps_changing() -> StoreError {
    let what = "others kept changing the lifetime of the session";
    StoreError::with_source(StoreErrorKind::Unavailable, what)
}
