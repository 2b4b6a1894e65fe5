//! PostgreSQL behind PgBouncer, in session mode.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tower_wristband::testing::contract;

use super::bed::{Bed, Pool};
use crate::servers::{free_port, server, until};

/// Ends with the test.
struct Bouncer(Child);

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_behind_pgbouncer_in_session_mode() {
    let upstream = url::Url::parse(&server("WRISTBAND_POSTGRES")).unwrap();
    let (host, port) = (upstream.host_str().unwrap(), upstream.port().unwrap());
    let (user, password) = (upstream.username(), upstream.password().unwrap());
    let database = upstream.path().trim_start_matches('/');

    let dir = tempfile::tempdir().unwrap();
    let bouncer_port = free_port();
    let users = dir.path().join("users");
    fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
    let ini = dir.path().join("pgbouncer.ini");
    fs::write(
        &ini,
        format!(
            "[databases]\n{database} = host={host} port={port}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {bouncer_port}\nunix_socket_dir =\n\
             auth_type = plain\nauth_file = {}\npool_mode = session\n\
             default_pool_size = 8\nignore_startup_parameters = extra_float_digits\n",
            users.display(),
        ),
    )
    .unwrap();
    // It refuses to run as root, and reads its files as whoever it is.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("pgbouncer");
    command.arg(&ini).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let owner = fs::metadata(server("WRISTBAND_SERVERS")).unwrap();
    command.uid(std::os::unix::fs::MetadataExt::uid(&owner));
    command.gid(std::os::unix::fs::MetadataExt::gid(&owner));
    let _bouncer = Bouncer(command.spawn().expect("pgbouncer is installed"));

    let url = format!("postgres://{user}:{password}@127.0.0.1:{bouncer_port}/{database}");
    until("it answers", async || PgPool::connect(&url).await.is_ok()).await;
    let pool = PgPoolOptions::new().max_connections(6).connect(&url).await.unwrap();
    let bed = Bed::migrated(Pool::Postgres(pool), None).await;
    contract::check_all(bed.store()).await.unwrap();
}
