//! The integration tests: one module per behaviour.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "modules of one binary")]

mod access_matrix;
mod after_head;
mod caching;
mod cancellation;
mod captured;
mod citations;
mod clones;
mod columns_store;
mod commit_failures;
mod configuration;
mod contract;
mod cookie_properties;
mod cookies;
mod cors;
mod costs;
mod events;
mod extractors;
mod faulty_store;
mod handler_errors;
mod in_flight;
mod lifetimes;
mod login;
mod lost_updates;
mod mounts;
mod password_change;
mod randomness;
mod readiness;
mod record_parts;
mod recording_store;
mod redirects;
mod refusals;
mod resurrection;
mod rotation;
mod scarcity;
mod scripts;
mod secrets;
mod servers;
mod session_model;
mod sessions_api;
mod several_layers;
mod story;
mod structure;
mod support;
mod turns;
