//! What the end of something says of a request.

use std::time::Instant;

use super::Target;

#[derive(Debug)]
pub(super) struct Ending {
    pub(super) target: Target,
    pub(super) started: Instant,
    /// Since when it is over, and whether it has surely happened.
    pub(super) settled: Option<(Instant, bool)>,
    /// It never reached the site.
    pub(super) void: bool,
}

/// What a request's answer has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    In,
    Out,
    Either,
}

/// What an ending makes of a request that was sent then, with what was last let in before.
pub(super) fn effect(
    ending: &Ending,
    sent: Instant,
    let_in: Option<Instant>,
    surely: bool,
) -> Verdict {
    match ending.settled {
        _ if ending.void => Verdict::In,
        Some((settled, _)) if let_in.is_some_and(|let_in| settled <= let_in) => Verdict::In,
        Some((settled, true)) if surely && settled <= sent => Verdict::Out,
        _ => Verdict::Either,
    }
}

pub(super) fn worse(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Out, _) | (_, Verdict::Out) => Verdict::Out,
        (Verdict::Either, _) | (_, Verdict::Either) => Verdict::Either,
        _ => Verdict::In,
    }
}
