//! The statements of all operations. What a dialect writes in another way is its [`Syntax`].
//!
//! Each is atomic by itself, and looks at the row where it changes it: nothing is written that was
//! read before. MySQL assigns columns one after the other, and a later expression sees the new
//! value of an earlier column; so each expression here has the same value either way.
//!
//! There is no index on `expires_at`, which most writes change, but on `sweep_at`, which most leave
//! as it is. So no database looks for one session, or for those of a user, by way of the deadlines
//! of everybody, whatever it takes for true of the table.

use super::{
    columns::{FORMAT, SWEEP_MASK},
    dialect::{Dialect, Syntax},
    statement::Statement,
    table::Table,
};

/// All columns but the data.
const COLUMNS: &str = "session_key, format, version, proof, rotated_at, logins, user_id, label, \
    created_at, authenticated_at, last_seen_at, absolute_deadline, expires_at, sweep_at, \
    idle_seconds, absolute_seconds, touch_seconds, ends_with_browser";

/// What a delta finds or leaves of the columns that decide when a session ends.
const STARTED_AT: &str =
    "CASE WHEN :user IS NULL THEN COALESCE(authenticated_at, created_at) ELSE :now END";
const IDLE: &str = "COALESCE(:idle, idle_seconds)";
const ABSOLUTE: &str = "COALESCE(:absolute, absolute_seconds)";

/// A record is bound to one user in its life.
const MAY_BIND: &str = "(user_id IS NULL OR :user IS NULL OR user_id = :user)";

/// The statements for one table.
pub(super) struct Statements {
    pub(super) load: Statement,
    pub(super) create: Statement,
    pub(super) update: Statement,
    /// The same for a delta of fields alone: what is there to decide, and to send, is less.
    pub(super) update_fields: Statement,
    pub(super) rotate: Statement,
    pub(super) touch: Statement,
    /// Answers the deadline of what it removes, where the database can.
    pub(super) destroy: Option<Statement>,
    pub(super) destroy_living: Statement,
    pub(super) destroy_expired: Statement,
    pub(super) list: Statement,
    pub(super) enforce_cap: Statement,
    pub(super) destroy_expired_of_user: Statement,
    pub(super) destroy_user: Statement,
    pub(super) sweep: Statement,
    /// Inserts nothing.
    pub(super) probe_insert: Statement,
    /// Updates the row of a key, to what it is.
    pub(super) probe_update: Statement,
}

impl Statements {
    pub(super) fn new<D: Dialect>(table: &Table) -> Self {
        let syntax = D::SYNTAX;
        let by_user_key = syntax.by_user_key.replace("{name}", table.name.as_str());
        let table = &table.quoted(&syntax);
        let statement = |sql: String| Statement::new(syntax.placeholders, &sql);
        let delete = |chosen: String| {
            statement(syntax.delete.replace("{table}", table).replace("{chosen}", &chosen))
        };
        let Syntax { data, new_data, lock, lock_free, sweeps, .. } = syntax;
        let limit = |count| syntax.limit.replace("{count}", count);
        let (most, batch) = (limit(":most"), limit(":batch"));
        let is_writable = format!("session_key = :key AND format = {FORMAT} AND expires_at > :now");
        let is_expected = "(:expect IS NULL OR version = :expect)";
        let destroy = format!(
            "DELETE FROM {table} WHERE session_key = :key \
             AND (:owner IS NULL OR user_id = :owner)"
        );
        let (delta, fields, seen) = (delta(&syntax), fields(&syntax), seen(&syntax));

        Self {
            load: statement(format!(
                "SELECT {COLUMNS}, {data} AS data FROM {table} \
                 WHERE session_key = :key AND expires_at > :now"
            )),
            create: statement(format!(
                "INSERT INTO {table} ({COLUMNS}, data) VALUES \
                 (:key, {FORMAT}, :version, :proof, :rotated_at, :logins, :user, :label, \
                 :created_at, :authenticated_at, :last_seen_at, :absolute_deadline, :expires_at, \
                 :sweep_at, :idle, :absolute, :touch, :ends_with_browser, {new_data})"
            )),
            update: statement(format!(
                "UPDATE {table} SET {delta} WHERE {is_writable} AND logins = :logins \
                 AND {MAY_BIND} AND {is_expected}"
            )),
            update_fields: statement(format!(
                "UPDATE {table} SET version = :version, {fields}, {seen} \
                 WHERE {is_writable} AND logins = :logins AND {is_expected}"
            )),
            rotate: statement(format!(
                "UPDATE {table} SET proof = :to, rotated_at = :now, {delta} WHERE {is_writable} \
                 AND proof = :from AND proof <> :to AND {MAY_BIND}"
            )),
            touch: statement(format!(
                "UPDATE {table} SET {seen} WHERE {is_writable} AND logins = :logins"
            )),
            destroy: syntax
                .returns_deleted
                .then(|| statement(format!("{destroy} RETURNING expires_at"))),
            destroy_living: statement(format!("{destroy} AND expires_at > :now")),
            destroy_expired: statement(format!("{destroy} AND expires_at <= :now")),
            list: statement(format!(
                "SELECT {COLUMNS} FROM {table}{by_user_key} WHERE user_id = :user \
                 AND session_key > :after AND expires_at > :now ORDER BY session_key {}",
                limit(":limit")
            )),
            // Logins of one user wait for each other at the locks, so that two never end each
            // other: the second finds itself gone, and ends nobody. Where there are so many that
            // the newcomer may not be among the newest, it is taken to be there.
            enforce_cap: delete(format!(
                "SELECT session_key FROM (SELECT session_key, \
                 ROW_NUMBER() OVER (ORDER BY CASE WHEN session_key = :key THEN 0 ELSE 1 END, \
                 authenticated_at DESC, session_key DESC) AS place, \
                 MAX(CASE WHEN session_key = :key THEN 1 ELSE 0 END) OVER () AS is_there, \
                 COUNT(*) OVER () AS found \
                 FROM (SELECT session_key, authenticated_at FROM {table} \
                 WHERE user_id = :user AND expires_at > :now \
                 ORDER BY authenticated_at DESC, session_key DESC {most}{lock}) AS newest) \
                 AS placed WHERE place > :cap AND (is_there = 1 OR found = :most)"
            )),
            destroy_expired_of_user: delete(format!(
                "SELECT session_key FROM {table} WHERE user_id = :user \
                 AND session_key <> :except AND expires_at <= :now \
                 ORDER BY authenticated_at DESC, session_key DESC {batch}{lock}"
            )),
            destroy_user: delete(format!(
                "SELECT session_key FROM {table} WHERE user_id = :user \
                 AND session_key <> :except AND expires_at > :now \
                 ORDER BY authenticated_at DESC, session_key DESC \
                 {batch} OFFSET :keep{lock}"
            )),
            sweep: delete(format!(
                "SELECT session_key FROM {table} WHERE sweep_at <= :now{sweeps} \
                 ORDER BY sweep_at {batch}{lock_free}"
            )),
            probe_insert: statement(format!(
                "INSERT INTO {table} ({COLUMNS}, data) \
                 SELECT {COLUMNS}, data FROM {table} WHERE session_key = :key"
            )),
            probe_update: statement(format!(
                "UPDATE {table} SET version = version WHERE session_key = :key"
            )),
        }
    }
}

/// The assignment of the fields.
fn fields(syntax: &Syntax) -> String {
    format!("data = CASE WHEN :writes = 0 THEN data ELSE {} END", syntax.merged_data)
}

/// The assignments of activity. What is alive has not reached its absolute deadline.
fn seen(syntax: &Syntax) -> String {
    let Syntax { greatest, least, .. } = syntax;
    let seen = format!("{greatest}(last_seen_at, :now)");
    let expires = format!("{least}(absolute_deadline, {seen} + 1000 * idle_seconds)");
    format!("last_seen_at = {seen}, expires_at = {expires}, sweep_at = {expires} | {SWEEP_MASK}")
}

/// The assignments of a delta.
fn delta(syntax: &Syntax) -> String {
    let Syntax { greatest, least, .. } = syntax;
    let fields = fields(syntax);
    let deadline = format!("{STARTED_AT} + 1000 * {ABSOLUTE}");
    // Never past the absolute deadline, which a new lifetime may have brought nearer.
    let seen = format!("{greatest}(last_seen_at, {least}(:now, {deadline}))");
    let expires = format!("{least}({deadline}, {seen} + 1000 * {IDLE})");
    format!(
        "version = :version, user_id = COALESCE(:user, user_id), \
         logins = logins + CASE WHEN :user IS NULL THEN 0 ELSE 1 END, \
         label = COALESCE(:label, label), \
         {fields}, \
         authenticated_at = CASE WHEN :user IS NULL THEN authenticated_at ELSE :now END, \
         last_seen_at = {seen}, absolute_deadline = {deadline}, \
         expires_at = {expires}, sweep_at = {expires} | {SWEEP_MASK}, \
         idle_seconds = {IDLE}, absolute_seconds = {ABSOLUTE}, \
         touch_seconds = COALESCE(:touch, touch_seconds), \
         ends_with_browser = COALESCE(:ends_with_browser, ends_with_browser)"
    )
}
