//! A table that announces what changes in it.
//!
//! It is the table that does, not the store: so nobody can write and forget to, be it a node that
//! has no feed, one of an older version, or a person. The triggers notify inside the transaction
//! that writes.

use crate::{store::FeedEvent, token::SessionKey};

/// What the name of a channel begins with. The number of the table follows, which is the same under
/// all names that the table has.
pub(super) const CHANNEL: &str = "wristband_";

/// How many triggers there are.
pub(super) const TRIGGERS: i64 = 4;

/// How many of them the table has whose number follows.
pub(super) const COUNT: &str = "SELECT count(*) FROM pg_trigger \
    WHERE tgname IN ('wristband_changed', 'wristband_cut', 'wristband_ended', 'wristband_emptied') \
    AND tgenabled IN ('O', 'A') AND tgrelid";

/// How many keys a message holds, which may have 7,999 bytes.
const KEYS: usize = 240;

/// A key as the triggers write it.
const KEY_DIGITS: usize = 32;

/// The SQL that makes a table announce its changes, by a function of that name and triggers, which
/// are made anew where not all of them are there and turned on. All names are quoted.
///
/// A touch sets no other columns than the times, and never brings the end nearer. A statement that
/// deletes many rows announces them together; a sweep says that it is one, and announces nothing.
pub(super) fn sql(table: &str, function: &str) -> String {
    format!(
        r#"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $function$
DECLARE
    channel text := '{CHANNEL}' || TG_RELID;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM pg_notify(channel, 'c' || encode(OLD.session_key, 'hex'));
    ELSIF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify(channel, 'all');
    ELSIF current_setting('wristband.sweeps', true) IS DISTINCT FROM 'on' THEN
        PERFORM pg_notify(channel, 'e' || string_agg(digits, '')) FROM (
            SELECT encode(session_key, 'hex') AS digits,
                (row_number() OVER () - 1) / {KEYS} AS message
            FROM ended WHERE octet_length(session_key) = 16
        ) AS keys GROUP BY message;
    END IF;
    RETURN NULL;
END
$function$;
DO $triggers$
BEGIN
    IF ({COUNT} = to_regclass('{table}')) < {TRIGGERS} THEN
        DROP TRIGGER IF EXISTS wristband_changed ON {table};
        DROP TRIGGER IF EXISTS wristband_cut ON {table};
        DROP TRIGGER IF EXISTS wristband_ended ON {table};
        DROP TRIGGER IF EXISTS wristband_emptied ON {table};
        CREATE TRIGGER wristband_changed
            AFTER UPDATE OF format, version, proof, logins, user_id, label, data ON {table}
            FOR EACH ROW EXECUTE FUNCTION {function}();
        CREATE TRIGGER wristband_cut AFTER UPDATE OF expires_at ON {table}
            FOR EACH ROW WHEN (OLD.expires_at > NEW.expires_at) EXECUTE FUNCTION {function}();
        CREATE TRIGGER wristband_ended AFTER DELETE ON {table} REFERENCING OLD TABLE AS ended
            FOR EACH STATEMENT EXECUTE FUNCTION {function}();
        CREATE TRIGGER wristband_emptied AFTER TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION {function}();
    END IF;
END
$triggers$;
"#
    )
}

/// What a message of the triggers tells. One that is not understood may tell of anything.
pub(super) fn events(message: &str) -> Vec<FeedEvent> {
    known_events(message).unwrap_or_else(|| vec![FeedEvent::Gap])
}

fn known_events(message: &str) -> Option<Vec<FeedEvent>> {
    let (event, keys): (fn(SessionKey) -> FeedEvent, _) = match message.split_at_checked(1)? {
        ("c", keys) => (FeedEvent::Changed, keys),
        ("e", keys) => (FeedEvent::Ended, keys),
        _ => return None,
    };
    let keys = keys.as_bytes().chunks(KEY_DIGITS);
    let keys = keys.map(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let events: Vec<_> = keys.map(|key| key.map(event)).collect::<Option<_>>()?;
    Some(events).filter(|events| !events.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_understood_is_a_gap() {
        let one = "0123456789abcdef0123456789abcdef";
        let key: SessionKey = one.parse().expect("a key");
        assert_eq!(events(&format!("c{one}")), [FeedEvent::Changed(key)]);
        assert_eq!(events(&format!("e{one}{one}")), [FeedEvent::Ended(key), FeedEvent::Ended(key)]);
        for message in ["", "c", "e", "all", one, "c0", &format!("e{one}0"), "\u{e9}", "x\u{e9}"] {
            assert_eq!(events(message), [FeedEvent::Gap], "{message:?}");
        }
        for message in [format!("d{one}"), format!("c{}\u{e9}", &one[1..]), format!("c {one}")] {
            assert_eq!(events(&message), [FeedEvent::Gap], "{message:?}");
        }
    }
}
