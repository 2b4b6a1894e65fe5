//! Whether a server's clock and this node's agree: each decides what has expired.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
};

/// The clocks may be this far apart.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The server's clock, which was read at some time of `asked` by this node's, agrees with it.
pub(super) fn check(
    asked: &RangeInclusive<Timestamp>,
    server: Timestamp,
) -> Result<(), StoreError> {
    let ahead = server.saturating_since(*asked.end());
    let behind = asked.start().saturating_since(server);
    if ahead <= TOLERANCE && behind <= TOLERANCE {
        return Ok(());
    }
    let (off, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let what = format!(
        "the server's clock is {off:?} {direction} this node's: synchronize both, with NTP for \
         instance"
    );
    Err(StoreError::with_source(StoreErrorKind::Other, what))
}
