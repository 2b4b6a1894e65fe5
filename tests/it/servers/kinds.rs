//! What is particular to each kind of server.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use url::Url;

use super::{Server, server};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Sentinel,
    Postgres,
    MariaDb,
}

impl Kind {
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinel => "redis-server",
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadbd",
        }
    }

    pub(super) fn arguments(self, server: &Server) -> Vec<String> {
        let port = server.port;
        let directory = server.directory.to_str().expect("text");
        let line = match self {
            Self::Redis => format!(
                "--bind 127.0.0.1 --port {port} --save  --appendonly yes --appendfsync no \
                 --repl-diskless-sync-delay 0 --enable-debug-command local"
            ),
            Self::Sentinel => "sentinel.conf --sentinel".to_owned(),
            Self::Postgres => format!(
                "-D data -k {directory} -h 127.0.0.1 -p {port} -c fsync=off \
                 -c full_page_writes=off -c dynamic_shared_memory_type=mmap \
                 -c shared_preload_libraries=pg_stat_statements"
            ),
            Self::MariaDb => format!(
                "{} --socket={directory}/socket --bind-address=127.0.0.1 --port={port} \
                 --init-file={directory}/init.sql --pid-file={directory}/pid",
                mariadb(server),
            ),
        };
        // Two spaces are an empty argument.
        line.split(' ').map(str::to_owned).collect()
    }

    /// Makes the first files of a server that has none.
    pub(super) fn prepare(self, server: &Server) {
        if server.directory.join("data").exists() {
            return;
        }
        match self {
            Self::Redis | Self::Sentinel => {}
            Self::Postgres => {
                server.write("password", &password());
                let arguments = "--pgdata=data --username=wristband --no-sync --encoding=UTF8 \
                                 --locale=C --auth=password --pwfile=password";
                run(server.command("initdb").args(arguments.split(' ')));
                let mut create = server.command("sh");
                let bootstrap =
                    "echo 'CREATE DATABASE wristband' | postgres --single -D data postgres";
                run(create.args(["-c", bootstrap]));
            }
            Self::MariaDb => {
                let arguments =
                    mariadb(server) + " --skip-test-db --auth-root-authentication-method=normal";
                run(server.command("mariadb-install-db").args(arguments.split(' ')));
                let user = "wristband@'127.0.0.1'";
                let sql = format!(
                    "CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{}';\n\
                     GRANT ALL ON *.* TO {user} WITH GRANT OPTION;\n\
                     DELETE FROM mysql.global_priv WHERE User IN ('', 'root');\n\
                     FLUSH PRIVILEGES;\n\
                     CREATE DATABASE IF NOT EXISTS wristband;\n",
                    password(),
                );
                server.write("init.sql", &sql);
            }
        }
    }

    /// Whether a server at this port answers, and can be used.
    pub(super) fn answers(self, port: u16) -> bool {
        let request: &[u8] = match self {
            Self::Redis | Self::Sentinel => b"PING\r\n",
            // The start-up message of protocol 3.0: it is asked for the password when it is ready.
            Self::Postgres => b"\0\0\0\x2b\0\x03\0\0user\0wristband\0database\0wristband\0\0",
            // It speaks first.
            Self::MariaDb => b"",
        };
        let expected: &[u8] = match self {
            Self::Redis | Self::Sentinel => b"+PONG",
            Self::Postgres => b"R",
            Self::MariaDb => b"",
        };
        let mut answer = [0; 5];
        ask(port, request, &mut answer).is_ok() && answer.starts_with(expected)
    }

    pub(super) fn url(self, port: u16) -> String {
        match self {
            Self::Redis | Self::Sentinel => format!("redis://127.0.0.1:{port}"),
            Self::Postgres => {
                format!("postgres://wristband:{}@127.0.0.1:{port}/wristband", password())
            }
            Self::MariaDb => format!("mysql://wristband:{}@127.0.0.1:{port}/wristband", password()),
        }
    }

    /// What ends it at once and leaves nothing behind. PostgreSQL leaves shared memory behind if it
    /// is killed.
    pub(super) fn fast_signal(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinel | Self::MariaDb => "KILL",
            Self::Postgres => "QUIT",
        }
    }

    pub(super) fn orderly_signal(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinel | Self::MariaDb => "TERM",
            // Without waiting until its clients have left.
            Self::Postgres => "INT",
        }
    }

    /// Removes what a server that was killed has left outside of its directory.
    pub(super) fn clean_up(self, server: &Server) {
        // The number of the shared memory, in the last line but one.
        let Ok(lock) = fs::read_to_string(server.directory.join("data/postmaster.pid")) else {
            return;
        };
        if let Some(id) = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = server.command("ipcrm").args(["-m", id]).output();
        }
    }
}

/// What a MariaDB needs for its files, too. A commit is handed to the operating system (2). In a
/// directory that they share, one that starts would remove the temporary tables of another.
fn mariadb(server: &Server) -> String {
    let directory = server.directory.display();
    format!(
        "--no-defaults --datadir={directory}/data --tmpdir={directory} --skip-name-resolve \
         --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=2"
    )
}

/// The password of the databases is the same everywhere.
fn password() -> String {
    let url = Url::parse(&server("WRISTBAND_POSTGRES")).expect("a URL");
    url.password().expect("a password").to_owned()
}

fn ask(port: u16, request: &[u8], answer: &mut [u8]) -> std::io::Result<()> {
    let patience = Duration::from_secs(5);
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request)?;
    stream.read_exact(answer)
}

fn run(command: &mut Command) {
    let output = command.output().expect("the server is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
