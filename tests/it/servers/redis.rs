//! Questions to a Redis, beside any client library.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::{Server, until};

/// The answer to a command in Redis' protocol.
///
/// # Errors
///
/// If there is no server at this address, or none that answers.
pub fn try_ask(address: &str, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    // It answers, and then sees that there is nothing more to come.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

impl Server {
    /// The answer to a command in Redis' protocol.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn ask(&self, command: &str) -> String {
        try_ask(&self.address(), command).expect("an answer")
    }

    /// What the server tells of itself in this section behind these words, if it does.
    pub fn told(&self, section: &str, words: &str) -> Option<String> {
        let told = self.ask(&format!("INFO {section}"));
        Some(told.lines().find_map(|line| line.strip_prefix(words))?.trim().to_owned())
    }

    /// Waits until the answer to a command has these words in it.
    pub async fn until_answer(&self, command: &str, words: &str) {
        let address = self.address();
        until(&format!("{words:?} from {command}"), async || {
            try_ask(&address, command).is_ok_and(|answer| answer.contains(words))
        })
        .await;
    }
}
