//! What is measured, as one line of JSON or one row of a table.

use serde::{Deserialize, Serialize};

/// One case for one peer. A field that does not apply is `null`; the fields after
/// `bytes_per_session` belong to some cases only, and are left out elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) case: String,
    pub(crate) peer: String,
    pub(crate) version: String,
    pub(crate) sessions: Option<usize>,
    pub(crate) threads: Option<usize>,
    /// Nanoseconds a request, or a step of what the case measures: the median of the rounds.
    pub(crate) ns: Option<f64>,
    /// What the layer adds to the bare service of the same round: the median of the rounds.
    pub(crate) overhead_ns: Option<f64>,
    pub(crate) overhead_ns_min: Option<f64>,
    pub(crate) overhead_ns_max: Option<f64>,
    /// Allocations a request.
    pub(crate) allocs: Option<f64>,
    /// Bytes that each session keeps allocated, whatever indices it is in included.
    pub(crate) bytes_per_session: Option<f64>,
    /// `quiet` or `sweep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ns: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ns: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p999_ns: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_ns: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<f64>,
    /// The requests a second as a share of the bare service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relative_to_bare: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relative_to_bare_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relative_to_bare_max: Option<f64>,
    /// How many requests are made at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_flight: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ns_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ns_max: Option<f64>,
    /// How many times longer a request takes than the bare command of the same round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times_bare_command: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times_bare_command_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times_bare_command_max: Option<f64>,
    /// How often a request waits for the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round_trips: Option<f64>,
    /// The same without the load that a request with a session begins with, unless it is a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation_round_trips: Option<f64>,
    /// How often the pool looks, for a request, whether a connection is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pings: Option<f64>,
    /// To the database, for a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_sent: Option<f64>,
    /// From the database, for a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_received: Option<f64>,
    /// Why the peer can't do what the case asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsupported: Option<String>,
}
