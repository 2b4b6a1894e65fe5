//! The [store contract](crate::store#the-contract) as checks that any store can run.
//!
//! [`check_all`] runs them all and names the point of the contract that a store breaks:
//!
//! ```
//! # async fn test(store: impl tower_wristband::store::SessionStore) {
//! use tower_wristband::testing::contract;
//!
//! if let Err(violation) = contract::check_all(store).await {
//!     panic!("{violation}"); // point 3 of the store contract (…): …
//! }
//! # }
//! ```
//!
//! Each check can also be called alone, or be a test of its own by way of [`CHECKS`].
//!
//! The checks make their own random keys and users, so the store need be neither empty nor theirs
//! alone; they leave some sessions behind. Their time starts at the system's. It moves ahead by up
//! to some hours, but nothing is swept ahead of time. Many start tasks: run them on a tokio
//! runtime, one of several threads for a store that answers at once, since nothing interleaves
//! otherwise. A fault of concurrency may take several runs to show.
//!
//! What can't be seen through the trait alone is not in the list: a store whose client sends
//! requests again by itself tests the second half of point 5 with such a client, and
//! [`damaged_records_are_refused`] needs the author's help to damage a record.

/// Ends a check that has found something wrong.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(Failure::new(format!($($message)+)));
        }
    };
}

mod bench;
mod changing;
mod creating;
mod dropping;
mod ending;
mod errors;
mod feeding;
mod listing;
mod racing;
mod rotating;
mod touching;

use std::{error::Error, fmt, pin::Pin, sync::Arc};

use self::bench::Bench;
use crate::store::SessionStore;

pub use self::errors::{Damage, damaged_records_are_refused};

/// A point of the contract that a store breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    of: &'static str,
    point: u8,
    check: &'static str,
    message: String,
}

impl Violation {
    /// The number of the point in the [contract](crate::store#the-contract), 1 to 12, or in that of
    /// [feeds](crate::store#the-feed), 1 to 7.
    #[must_use]
    pub fn point(&self) -> u8 {
        self.point
    }

    /// The name of the check that found it.
    #[must_use]
    pub fn check(&self) -> &'static str {
        self.check
    }

    /// What the store did.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, point, check, message } = self;
        write!(f, "point {point} of {of} ({check}): {message}")
    }
}

impl Error for Violation {}

type Running = Pin<Box<dyn Future<Output = Result<(), Violation>> + Send>>;

/// One check of the contract.
#[derive(Clone, Copy)]
pub struct Check {
    point: u8,
    name: &'static str,
    run: fn(Arc<dyn SessionStore>) -> Running,
}

impl Check {
    /// The number of the point in the [contract](crate::store#the-contract), 1 to 12.
    #[must_use]
    pub fn point(&self) -> u8 {
        self.point
    }

    /// The name: that of its function in this module.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// The [`Violation`] it finds.
    pub async fn run(&self, store: Arc<dyn SessionStore>) -> Result<(), Violation> {
        (self.run)(store).await
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("point", &self.point).field("name", &self.name).finish()
    }
}

/// Runs all [`CHECKS`] in their order, and stops at the first that fails.
///
/// # Errors
///
/// The first [`Violation`]. An error that the store answers where the contract knows none is one
/// too.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn check_all(store: impl SessionStore) -> Result<(), Violation> {
    let store: Arc<dyn SessionStore> = Arc::new(store);
    for check in CHECKS {
        check.run(Arc::clone(&store)).await?;
    }
    Ok(())
}

/// What can be seen from outside of [what a feed promises](crate::store#the-feed), points 1 to 4
/// and 7: the gap at the start, that each kind of write is told before the feed proves that it is
/// fresh, and that what is told can be seen.
///
/// It listens to the feed of `store`, and writes with `elsewhere`: another handle to the same
/// sessions, as another node has it, or the same once more. What only happens on a broken
/// connection (points 5 and 6) is for the author to test.
///
/// # Errors
///
/// The [`Violation`] it finds.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn check_feed(
    store: impl SessionStore,
    elsewhere: impl SessionStore,
) -> Result<(), Violation> {
    let outcome = feeding::check(Arc::new(store), Arc::new(elsewhere)).await;
    outcome.map_err(|(point, failure)| failure.of_feed(point))
}

/// Makes of each line a public function, and of all together the list.
macro_rules! checks {
    ($($point:literal $module:ident::$name:ident: $doc:literal;)*) => {
        /// All checks, in the order of the contract's points.
        pub const CHECKS: &[Check] = &[$(
            Check { point: $point, name: stringify!($name), run: |store| Box::pin($name(store)) },
        )*];

        $(
            #[doc = concat!("Point ", $point, ": ", $doc)]
            ///
            /// # Errors
            ///
            /// The [`Violation`] it finds.
            pub async fn $name(store: Arc<dyn SessionStore>) -> Result<(), Violation> {
                let outcome = $module::$name(Bench::new(store)).await;
                outcome.map_err(|failure| failure.of($point, stringify!($name)))
            }
        )*
    };
}

checks! {
    1 creating::a_taken_key_is_a_collision:
        "a second `create` of a key is `Collision` and changes nothing, other sessions included.";
    1 racing::one_of_many_creates_wins: "of many concurrent creates of a key, one is stored.";

    2 creating::a_record_is_loaded_as_it_was_created:
        "all parts of a record are kept, and the presented proof does not matter.";
    2 creating::only_the_living_are_loaded:
        "a session ends exactly at its idle and at its absolute deadline.";

    3 changing::a_missing_session_is_never_created:
        "`update`, `rotate` and `touch` create nothing where nothing was, nor after `destroy`.";
    3 changing::an_expired_session_is_not_changed: "expired is the same as missing.";
    3 changing::another_login_stops_a_write:
        "a write of a request from before the login is `Gone` and writes nothing.";
    3 changing::a_rotation_does_not_stop_an_update:
        "a plain rotation leaves the session the same.";

    4 changing::a_delta_leaves_the_other_fields: "two deltas of different fields are both kept.";
    4 changing::a_delta_does_all_it_says:
        "fields are set, removed and cleared, the label and the lifetime are set.";
    4 changing::values_are_kept_to_the_letter:
        "a value's JSON text, and a field's name, come back as they were written.";
    4 racing::concurrent_deltas_are_all_kept: "nobody's field is lost under concurrency.";
    4 racing::half_a_delta_is_never_seen: "a reader sees all of a delta or nothing.";

    5 changing::another_version_is_a_conflict:
        "with `expect`, another version is `Conflict` and nothing is written.";
    5 racing::concurrent_increments_are_all_counted:
        "reading, changing and writing with `expect` loses no increment.";

    6 rotating::a_rotation_replaces_the_proof:
        "the old proof is dead, the new one lives, and the delta is applied.";
    6 rotating::a_rotation_from_another_proof_is_gone: "it writes nothing.";
    6 rotating::a_repeated_rotation_is_done_once:
        "a record that already holds the new proof answers `Stored`.";
    6 rotating::only_a_login_restarts_the_absolute_lifetime:
        "and the creation time stays.";
    6 rotating::a_session_belongs_to_one_user: "binding another user is `Gone`.";
    6 racing::one_of_many_rotations_wins: "of many concurrent rotations, one is stored.";
    6 racing::a_rotating_session_is_always_found: "a reader finds the old proof or the new one.";

    7 touching::touch_only_moves_last_seen: "forward, and neither data nor version.";
    7 touching::touch_ends_at_the_absolute_deadline:
        "activity does not prolong the session beyond.";

    8 ending::destroy_is_idempotent: "and nothing is found after it.";
    8 ending::destroy_asks_for_the_owner: "another's session stays.";
    8 racing::nothing_brings_a_destroyed_session_back: "whoever is writing to it meanwhile.";
    8 ending::only_the_expired_are_swept: "and at most as many as allowed.";

    9 listing::list_pages_in_key_order: "all of the user's sessions, once each.";
    9 listing::list_shows_the_living_of_one_user: "with their labels and times as they are now.";
    9 listing::users_are_told_apart_to_the_byte: "whatever their ids are made of.";
    9 listing::destroy_user_ends_all_but_the_chosen: "and counts the living that it ended.";
    9 listing::a_session_bound_by_rotation_is_reached: "also when the user logs in anew on it.";
    9 racing::destroy_user_ends_what_is_being_written: "whoever is rotating meanwhile.";

    10 ending::the_cap_ends_the_oldest:
        "by authentication time, then key, at `create` and `rotate`.";
    10 ending::the_cap_spares_the_newcomer: "also when its authentication time is the earliest.";
    10 ending::the_cap_counts_the_living_of_one_user: "not the expired, not those of others.";
    10 ending::a_refused_login_ends_nobody:
        "a `rotate` that is `Gone` leaves the user's sessions alone.";
    10 ending::a_repeated_login_ends_nobody: "nor does a `rotate` that was done already.";
    10 racing::concurrent_logins_settle_within_the_cap: "however they interleave.";

    11 dropping::a_dropped_create_is_done_or_not: "record and index agree.";
    11 dropping::a_dropped_write_is_done_or_not:
        "`update`, `rotate` and `touch`, with all they change.";
    11 dropping::a_dropped_end_is_done_or_not:
        "`destroy` and `destroy_user`, which can be repeated.";

    12 errors::a_collision_is_told_from_an_outage: "it has its own kind.";
    12 errors::a_working_store_says_so: "`check` succeeds at the system's time.";
}
