//! The stores in SQL databases.

mod mysql;
mod postgres;
mod sqlite;
