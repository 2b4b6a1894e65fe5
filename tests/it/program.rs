//! Programs that tests start beside themselves.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A process that is killed when this is dropped, or when the thread that started it has ended, however that
/// came.
#[derive(Debug)]
pub struct Program {
    process: Child,
}

impl Program {
    /// Starts a program, and waits for the line of its output that says where it is: for what `find` makes of
    /// a line.
    ///
    /// # Panics
    ///
    /// If the program isn't there (`tests/setup.sh` installs it), or ends without that line.
    pub async fn start(
        program: &str,
        set_up: impl FnOnce(&mut Command),
        find: impl Fn(&str) -> Option<String>,
    ) -> (Self, String) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        set_up(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("util-linux");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut written = String::new();
        let found = loop {
            let line = output.next_line().await.expect("text");
            let line = line.unwrap_or_else(|| panic!("{program} ends: {written}"));
            if let Some(found) = find(&line) {
                break found;
            }
            written.extend([line.as_str(), "\n"]);
        };
        // What it writes from now on is read, so that it can go on.
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        (Self { process }, found)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id().expect("it runs")
    }
}
