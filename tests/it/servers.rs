//! The servers that the tests run against: those of `tests/servers.sh`, which all tests share, and
//! private ones, which a test may kill.

mod kinds;
mod ports;
mod redis;
mod tests;
mod topologies;

use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

pub use self::{
    kinds::Kind,
    ports::{free_port, free_ports},
    topologies::{Cluster, Sentinels},
};

/// What `tests/servers.sh` says about a server.
///
/// # Panics
///
/// Outside of that script.
pub fn server(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run ./tests/run.sh"))
}

/// How long a server may take to come up or to end: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(180);

/// A server of one test, on a port of the loopback interface. What it writes survives when it is
/// killed: it is in a directory of its own, and handed to the operating system before it is
/// acknowledged. Both go when it is dropped.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    port: u16,
    options: Vec<String>,
    directory: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// A Redis with an append-only file, and further options as on its command line:
    /// `&["--maxmemory", "1mb"]`.
    pub async fn redis(options: &[&str]) -> Self {
        Self::started(Kind::Redis, options).await
    }

    /// A PostgreSQL with an empty database `wristband` and its superuser of that name, and further
    /// options: `&["-c", "max_connections=5"]`.
    pub async fn postgres(options: &[&str]) -> Self {
        Self::started(Kind::Postgres, options).await
    }

    /// A MariaDB with an empty database `wristband` and its superuser of that name, and further
    /// options: `&["--max-connections=5"]`.
    pub async fn mariadb(options: &[&str]) -> Self {
        Self::started(Kind::MariaDb, options).await
    }

    async fn started(kind: Kind, options: &[&str]) -> Self {
        let mut server = Self::new(kind, free_port(), options);
        server.start().await;
        server
    }

    /// A server that is not started yet, with an empty directory.
    fn new(kind: Kind, port: u16, options: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let private = Path::new(&server("WRISTBAND_SERVERS")).join("private");
        let directory = private.join(format!("{}.{number}", std::process::id()));
        let owner = fs::metadata(&private).expect("the directory of private servers");
        fs::create_dir(&directory).expect("a directory");
        chown(&directory, Some(owner.uid()), Some(owner.gid())).expect("an owner");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { kind, port, options, directory, process: None }
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL for a client.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The URL for a client that goes by way of another port: a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        self.kind.url(port)
    }

    /// Starts it, or starts it again with the files that it left, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it runs, or doesn't come up.
    pub async fn start(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let start = Instant::now();
        self.kind.prepare(self);
        loop {
            let mut process = self.spawn();
            let is_up = loop {
                if self.kind.answers(self.port) {
                    break true;
                }
                // PostgreSQL's children may take a moment longer than itself to end, and hinder it.
                if process.try_wait().expect("a child").is_some() {
                    break false;
                }
                assert!(start.elapsed() < PATIENCE, "it doesn't come up: {}", self.log());
                pause().await;
            };
            if is_up {
                self.process = Some(process);
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it doesn't start: {}", self.log());
            pause().await;
        }
    }

    fn spawn(&self) -> Child {
        let log = fs::File::create(self.directory.join("log")).expect("a log");
        let mut command = self.command(self.kind.program());
        command.args(self.kind.arguments(self)).args(&self.options);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        command.spawn().expect("the server is installed")
    }

    /// A program that runs in the directory, as its owner: databases refuse to run as root.
    fn command(&self, program: &str) -> Command {
        let owner = fs::metadata(&self.directory).expect("a directory");
        let mut command = Command::new(program);
        command.current_dir(&self.directory).uid(owner.uid()).gid(owner.gid());
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Writes one of its files.
    fn write(&self, name: &str, contents: &str) {
        let path = self.directory.join(name);
        let owner = fs::metadata(&self.directory).expect("a directory");
        fs::write(&path, contents).expect("a file");
        chown(path, Some(owner.uid()), Some(owner.gid())).expect("an owner");
    }

    /// The number of its process.
    ///
    /// # Panics
    ///
    /// If it doesn't run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("a child");
        process.wait().expect("a child");
    }

    /// Ends it in order, with the signal that service managers send.
    pub async fn shut_down(&mut self) {
        let mut process = self.process.take().expect("it runs");
        signal(self.kind.orderly_signal(), process.id());
        let start = Instant::now();
        while process.try_wait().expect("a child").is_none() {
            assert!(start.elapsed() < PATIENCE, "it doesn't end: {}", self.log());
            pause().await;
        }
    }

    /// Stops it with SIGSTOP: connections stay open, and nothing is answered. Those of PostgreSQL
    /// are of processes of their own, which go on.
    pub fn suspend(&self) {
        signal("STOP", self.id());
    }

    /// Continues it.
    pub fn resume(&self) {
        signal("CONT", self.id());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(self.kind.fast_signal(), process.id());
            signal("CONT", process.id());
            let start = Instant::now();
            while let Ok(None) = process.try_wait() {
                if start.elapsed() > PATIENCE {
                    let _ = process.kill();
                }
                sleep(PAUSE);
            }
        } else {
            self.kind.clean_up(self);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Between two looks at something that is about to happen.
const PAUSE: Duration = Duration::from_millis(10);

/// On a thread, not on tokio's timer: tests that pause the time wait for servers, too.
async fn pause() {
    tokio::task::spawn_blocking(|| sleep(PAUSE)).await.expect("no panic");
}

/// Waits until a condition holds that a server is about to fulfil.
///
/// # Panics
///
/// If it takes longer than any server takes.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "not within three minutes: {what}");
        pause().await;
    }
}

/// Sends a signal to a process.
pub fn signal(name: &str, process: u32) {
    // The shell's own `kill`: a program of that name is not on every machine.
    let kill = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(kill.expect("a shell").success(), "no signal {name} for {process}");
}
