//! Start-up: the table is made, and what can't be used is told with what to do.

use std::time::Duration;

use sqlx::{
    Executor as _, MySqlPool, PgPool, SqlitePool, mysql::MySqlPoolOptions, postgres::PgPoolOptions,
    sqlite::SqliteConnectOptions,
};
use tower_wristband::{
    ConfigErrorKind, MySqlStore, PostgresStore, SqliteStore, StoreError, StoreErrorKind, Timestamp,
    store::SessionStore as _,
};

use super::bed::{Bed, Known, Pool, Store, now, reason, unique};
use crate::servers::{free_port, server};

on_each_database!(
    a_missing_table_is_told,
    a_table_of_another_shape_is_told,
    a_column_more_is_told_if_it_has_to_be_filled,
    clocks_that_differ_are_told,
    many_nodes_migrate_at_once,
    a_read_only_database_is_told,
    nothing_is_created_behind_the_back,
    a_missing_index_is_told,
    the_longest_names_are_not_cut,
);

/// `check` fails in this way, and says what to do.
async fn fails(store: &Store, kind: StoreErrorKind, hints: &[&str]) {
    let error = store.check(now()).await.expect_err("it can't be used");
    says(&error, kind, hints);
}

fn says(error: &StoreError, kind: StoreErrorKind, hints: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    for hint in hints {
        assert!(reason(error).contains(hint), "{hint}: {}", reason(error));
    }
}

async fn a_missing_table_is_told(bed: Bed) {
    bed.store().check(now()).await.unwrap();
    bed.sql("DROP TABLE {table}").await.unwrap();
    fails(&bed.store(), StoreErrorKind::Other, &["migrate", "schema", &bed.table]).await;
    // At run time, it is an error as well, and never no session.
    let known = Known::new(&tower_wristband::store::Change::new(1), now());
    let loaded = bed.store().load(known.key, known.record.proof(), now()).await;
    says(&loaded.unwrap_err(), StoreErrorKind::Other, &[]);
}

async fn a_table_of_another_shape_is_told(bed: Bed) {
    let schema = bed.schema();
    let line = |name: &str| {
        let line = schema.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.to_owned()
    };
    let text = "TEXT".to_owned();
    let mut wrong = vec![
        // A column less, of another type, that may be null, that may not be null.
        ("label", line("label"), String::new()),
        ("version", line("version"), format!("version {text} NOT NULL,")),
        ("proof", line("proof"), line("proof").replace("NOT NULL", "")),
        ("rotated_at", line("rotated_at"), line("rotated_at").replace(',', " NOT NULL,")),
        ("key", line("session_key"), line("session_key").replace("PRIMARY KEY", "")),
    ];
    if let Pool::MySql(_) = bed.pool {
        // Unless its mode is strict, a server cuts what is too long, and replaces characters.
        for (name, right, other) in [
            ("session_key", "BINARY(16)", "BINARY(8)"),
            ("proof", "BINARY(32)", "BINARY(16)"),
            ("user_id", "VARBINARY(255)", "VARBINARY(16)"),
            ("label", "VARBINARY(255)", "VARBINARY(16)"),
            ("version", "BIGINT", "BIGINT UNSIGNED"),
            ("data", "utf8mb4 COLLATE utf8mb4_bin", "latin1 COLLATE latin1_bin"),
        ] {
            wrong.push((name, line(name), line(name).replace(right, other)));
        }
    }
    for (name, right, wrong) in wrong {
        assert_ne!(right, wrong);
        bed.sql("DROP TABLE {table}").await.unwrap();
        bed.sql(&schema.replace(&right, &wrong)).await.unwrap();
        fails(&bed.store(), StoreErrorKind::Other, &[name, &bed.table]).await;
    }
}

async fn a_column_more_is_told_if_it_has_to_be_filled(bed: Bed) {
    let with = async |column: &str| {
        bed.sql("DROP TABLE {table}").await.unwrap();
        bed.sql(&bed.schema().replace("    label", &format!("    {column}, label"))).await.unwrap();
    };
    let mut harmless = vec!["note INTEGER", "note INTEGER NOT NULL DEFAULT 1"];
    harmless.push(match bed.pool {
        Pool::Sqlite(_) => "note INTEGER NOT NULL AS (version) VIRTUAL",
        Pool::Postgres(_) => "note BIGINT GENERATED ALWAYS AS IDENTITY",
        Pool::MySql(_) => "note BIGINT NOT NULL AUTO_INCREMENT UNIQUE",
    });
    for column in harmless {
        with(column).await;
        bed.store().check(now()).await.expect(column);
        Known::created(&bed.store(), None, now()).await;
    }

    with("note INTEGER NOT NULL").await;
    fails(&bed.store(), StoreErrorKind::Other, &["column note", "default", &bed.table]).await;
    says(&bed.migrate().await.unwrap_err(), StoreErrorKind::Other, &["column note"]);
    let known = Known::new(&tower_wristband::store::Change::new(1), now());
    let created = bed.store().create(known.key, known.record, None, now()).await;
    says(&created.unwrap_err(), StoreErrorKind::Other, &["note"]);
}

async fn clocks_that_differ_are_told(bed: Bed) {
    let store = bed.store();
    let ahead = now() + Duration::from_secs(5);
    let behind = Timestamp::from_unix_millis(now().as_unix_millis() - 5000);
    for (time, direction) in [(ahead, "behind"), (behind, "ahead")] {
        let error = store.check(time).await.unwrap_err();
        says(&error, StoreErrorKind::Other, &["clock", direction]);
    }
    store.check(now() + Duration::from_millis(500)).await.unwrap();
}

async fn many_nodes_migrate_at_once(bed: Bed) {
    for _ in 0..5 {
        bed.sql("DROP TABLE {table}").await.unwrap();
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(bed.with_pool(bed.other_pool(1).await));
        }
        let nodes = nodes.into_iter().map(|node| {
            tokio::spawn(async move {
                node.migrate().await.unwrap();
                node.store().check(now()).await.unwrap();
            })
        });
        for node in nodes.collect::<Vec<_>>() {
            node.await.unwrap();
        }
        // What is there stays.
        let known = Known::created(&bed.store(), None, now()).await;
        bed.migrate().await.unwrap();
        let found = bed.store().load(known.key, known.record.proof(), now()).await.unwrap();
        assert!(found.is_some());
    }
}

async fn a_read_only_database_is_told(bed: Bed) {
    let known = Known::created(&bed.store(), None, now()).await;
    let pool = match &bed.pool {
        Pool::Sqlite(pool) => {
            let options = SqliteConnectOptions::clone(&pool.connect_options()).read_only(true);
            Pool::Sqlite(SqlitePool::connect_with(options).await.unwrap())
        }
        Pool::Postgres(pool) => {
            let options = pool.connect_options().as_ref().clone();
            let options = options.options([("default_transaction_read_only", "on")]);
            Pool::Postgres(PgPool::connect_with(options).await.unwrap())
        }
        Pool::MySql(pool) => {
            let read_only = MySqlPoolOptions::new().after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("SET SESSION TRANSACTION READ ONLY").await.map(drop)
                })
            });
            Pool::MySql(
                read_only.connect_with(pool.connect_options().as_ref().clone()).await.unwrap(),
            )
        }
    };
    let store = bed.store_on(&pool);
    fails(&store, StoreErrorKind::Unavailable, &["read-only", "primary", &bed.table]).await;

    // An outage, not the end of the session.
    let (key, proof) = (known.key, known.record.proof());
    for error in [
        store.touch(key, 0, now()).await.unwrap_err(),
        store.destroy(key, None, now()).await.unwrap_err(),
        store.create(key, known.record, None, now()).await.unwrap_err(),
    ] {
        says(&error, StoreErrorKind::Unavailable, &[]);
    }
    assert!(store.load(key, proof, now()).await.unwrap().is_some());
}

async fn nothing_is_created_behind_the_back(bed: Bed) {
    let other = Bed::empty(bed.pool.clone(), None);
    let store = other.store();
    let known = Known::new(&tower_wristband::store::Change::new(1), now());
    assert!(store.create(known.key, known.record, None, now()).await.is_err());
    assert!(store.check(now()).await.is_err());
    assert!(other.sql("SELECT * FROM {table}").await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let (port, patience) = (free_port(), Duration::from_secs(1));
    let pool = PgPoolOptions::new().acquire_timeout(patience);
    let pool = pool.connect_lazy(&format!("postgres://nobody@127.0.0.1:{port}/nothing")).unwrap();
    let error = PostgresStore::new(pool).check(now()).await.unwrap_err();
    says(&error, StoreErrorKind::Unavailable, &[]);

    let pool = MySqlPoolOptions::new().acquire_timeout(patience);
    let pool = pool.connect_lazy(&format!("mysql://nobody@127.0.0.1:{port}/nothing")).unwrap();
    let error = MySqlStore::new(pool).check(now()).await.unwrap_err();
    says(&error, StoreErrorKind::Unavailable, &[]);

    let error = SqliteStore::open("/nowhere/sessions").await.unwrap_err();
    says(&error, StoreErrorKind::Unavailable, &["unable to open"]);
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_told() {
    for variable in ["WRISTBAND_POSTGRES", "WRISTBAND_MYSQL"] {
        let mut url = url::Url::parse(&server(variable)).unwrap();
        let right = url.clone();
        url.set_password(Some("wrong")).unwrap();
        let mut missing = right.clone();
        missing.set_path("nothing_of_that_name");
        for url in [url, missing] {
            let error = match variable {
                "WRISTBAND_POSTGRES" => {
                    let pool = PgPool::connect_lazy(url.as_str()).unwrap();
                    PostgresStore::new(pool).check(now()).await.unwrap_err()
                }
                _ => {
                    let pool = MySqlPool::connect_lazy(url.as_str()).unwrap();
                    MySqlStore::new(pool).check(now()).await.unwrap_err()
                }
            };
            says(&error, StoreErrorKind::Other, &[]);
            let told = ["password", "Access denied", "nothing_of_that_name"];
            assert!(told.iter().any(|told| reason(&error).contains(told)), "{}", reason(&error));
        }
    }
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    let store = SqliteStore::new(SqlitePool::connect_lazy("sqlite::memory:").unwrap());
    let postgres = PostgresStore::new(PgPool::connect_lazy("postgres://localhost/x").unwrap());
    let long = "x".repeat(49);
    for name in ["", "1a", "a b", "a\"b", "a`b", "a.b", "a;b", "a'b", "\u{e9}", "a\0", "-", &long] {
        let refused = store.clone().with_table(name).unwrap_err();
        assert_eq!(refused.kind(), ConfigErrorKind::TableName, "{name:?}");
        assert!(postgres.clone().with_schema(name).is_err(), "{name:?}");
    }
    for name in ["a", "_", "select", "Upper_1", &"x".repeat(48)] {
        assert!(store.clone().with_table(name).unwrap().schema().contains(&format!("\"{name}\"")));
    }
}

/// The longest name, which is a keyword as well, in a schema of its own.
#[tokio::test]
async fn postgres_takes_a_schema() {
    let pool = PgPool::connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
    let schema = unique();
    let store = PostgresStore::new(pool.clone()).with_schema(&schema).unwrap();
    let store = store.with_table("select").unwrap();
    says(&store.check(now()).await.unwrap_err(), StoreErrorKind::Other, &["missing", &schema]);
    pool.execute(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
    store.migrate().await.unwrap();
    store.check(now()).await.unwrap();
    let swap = format!(
        "DROP INDEX {schema}.select_user; CREATE INDEX select_user ON {schema}.\"select\" (label)"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(swap)).execute(&pool).await.unwrap();
    let error = store.check(now()).await.unwrap_err();
    let advice = reason(&error).rsplit('`').nth(1).unwrap().to_owned();
    sqlx::raw_sql(sqlx::AssertSqlSafe(advice)).execute(&pool).await.unwrap();
    store.check(now()).await.unwrap();
    let store: Store = std::sync::Arc::new(store);
    Known::created(&store, Some(&super::bed::user()), now()).await;
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {schema}.\"select\""));
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&pool).await.unwrap(), 1);
}

/// Names that a statement could take for something else.
#[tokio::test]
async fn a_table_can_have_any_name() {
    for name in ["chosen", "newest", "placed", "data", "select", "session_key"] {
        let alice = super::bed::user();
        for mut bed in [Bed::sqlite().await, Bed::postgres().await, Bed::mysql().await] {
            // A table that a run before this one left behind is one of sessions as well.
            bed.table = name.to_owned();
            bed.migrate().await.unwrap();
            let store = bed.store();
            Known::created(&store, Some(&alice), now()).await;
            let known = Known::new(
                &tower_wristband::store::Change::new(1).with_user(alice.clone()),
                now() + Duration::from_secs(1),
            );
            store.create(known.key, known.record, Some(1), now()).await.unwrap();
            let left = store.list(alice.clone(), None, 10, now()).await.unwrap();
            assert_eq!(left.len(), 1, "{name}");
            assert_eq!(store.destroy_user(alice.clone(), None, 0, now()).await.unwrap(), 1);
            store.sweep(10, now()).await.unwrap();
        }
    }
}

const INDEXES: [&str; 3] = ["user", "user_key", "sweep_at"];

async fn a_missing_index_is_told(mut bed: Bed) {
    // Another connection to SQLite would still see the index that was dropped.
    bed.pool = bed.other_pool(1).await;
    for suffix in INDEXES {
        bed.table = unique();
        bed.migrate().await.unwrap();
        let index = format!("{}_{suffix}", bed.table);
        let drop = match &bed.pool {
            Pool::MySql(_) => format!("ALTER TABLE {{table}} DROP INDEX {index}"),
            _ => format!("DROP INDEX {index}"),
        };
        bed.sql(&drop).await.unwrap();
        let advice = heeded(&bed, &index).await;
        if !matches!(bed.pool, Pool::MySql(_)) {
            // As it was made at first.
            let create = advice.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS") + ";";
            let schema = bed.schema().split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(schema.contains(&create), "{create}: {schema}");
        }
        // Nor is it one with other columns.
        bed.sql(&drop).await.unwrap();
        bed.sql(&format!("CREATE INDEX {index} ON {{table}} (label)")).await.unwrap();
        let again = heeded(&bed, &index).await;
        assert!(again.starts_with("DROP INDEX") && again.ends_with(&advice), "{again}");
    }
}

/// The index is told, and a statement, which helps.
async fn heeded(bed: &Bed, index: &str) -> String {
    let error = bed.store().check(now()).await.expect_err("an index is missing");
    says(&error, StoreErrorKind::Other, &[index, &bed.table]);
    let reason = reason(&error);
    let advice = reason.split("run `").nth(1).and_then(|rest| rest.rsplit_once('`'));
    let advice = advice.expect("what to run").0;
    let advice = advice.split("`, or").next().unwrap().to_owned();
    bed.sql(&advice).await.unwrap();
    bed.store().check(now()).await.unwrap();
    advice
}

/// Two names that differ in the last of as many letters as a name may have.
async fn the_longest_names_are_not_cut(mut bed: Bed) {
    let name = unique();
    for last in ["a", "b"] {
        bed.table = format!("{name}{}{last}", "_".repeat(47 - name.len()));
        bed.migrate().await.unwrap();
        bed.store().check(now()).await.unwrap();
    }
}

/// Indexes and tables share one space of names there. MySQL's indexes are each table's own.
#[tokio::test]
async fn a_name_that_is_taken_is_told() {
    for mut bed in [Bed::sqlite().await, Bed::postgres().await] {
        let first = bed.table.clone();
        for suffix in INDEXES {
            // The name of the table is that of another's index.
            bed.table = format!("{first}_{suffix}");
            says(&bed.migrate().await.unwrap_err(), StoreErrorKind::Other, &[]);
            fails(&bed.store(), StoreErrorKind::Other, &[&bed.table]).await;

            // The name of an index is that of another's table.
            let second = unique();
            bed.table = format!("{second}_{suffix}");
            bed.migrate().await.unwrap();
            bed.table = second.clone();
            let error = bed.migrate().await.unwrap_err();
            says(&error, StoreErrorKind::Other, &[&format!("{second}_{suffix}")]);
            assert!(bed.store().check(now()).await.is_err());
        }
    }
}
