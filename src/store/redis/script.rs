//! The scripts that the server runs, each on one key.

use std::sync::{Arc, LazyLock};

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use super::connection::Link;

/// A script, sent by its hash, and as a whole to a server that doesn't know it.
pub(super) struct Script {
    text: &'static str,
    hash: LazyLock<String>,
}

/// A script that begins with what those of one session share.
macro_rules! of_session {
    ($file:literal) => {
        Script::new(concat!(include_str!("prologue.lua"), include_str!($file)), || {
            hash(concat!(include_str!("prologue.lua"), include_str!($file)))
        })
    };
}

macro_rules! of_index {
    ($file:literal) => {
        Script::new(include_str!($file), || hash(include_str!($file)))
    };
}

pub(super) static CREATE: Script = of_session!("create.lua");
pub(super) static UPDATE: Script = of_session!("update.lua");
pub(super) static ROTATE: Script = of_session!("rotate.lua");
pub(super) static TOUCH: Script = of_session!("touch.lua");
pub(super) static DESTROY: Script = of_session!("destroy.lua");
pub(super) static ANNOUNCE: Script = of_index!("announce.lua");
pub(super) static SETTLE: Script = of_index!("settle.lua");
pub(super) static PROBE: Script = of_index!("probe.lua");

fn hash(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}

impl Script {
    const fn new(text: &'static str, hash: fn() -> String) -> Self {
        Self { text, hash: LazyLock::new(hash) }
    }

    /// Runs it on a key.
    pub(super) async fn run(
        &self,
        link: &Arc<Link>,
        key: &[u8],
        arguments: &[&[u8]],
    ) -> Result<Value, RedisError> {
        let command = |name: &str, script: &str| {
            let mut command: Cmd = redis::cmd(name);
            command.arg(script).arg(1).arg(key).arg(arguments);
            command
        };
        match link.send(&command("EVALSHA", &self.hash)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // It is not loaded first: while a slot moves, that would have to reach two nodes.
                link.send(&command("EVAL", self.text)).await
            }
            answer => answer,
        }
    }
}
