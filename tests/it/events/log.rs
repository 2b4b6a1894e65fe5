//! What a user id brings into a log.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tower_wristband::{UserId, testing::issue};

use crate::{captured::Capture, support::world};

/// What tracing's own formatter writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Else one could write lines of one's own.
#[tokio::test]
async fn no_control_character_of_a_user_id_gets_into_a_line_of_a_log() {
    // There is a subscriber of all threads before that of this one: see there.
    let (world, _capture) = (world(), Capture::start());
    let log = Log::default();
    let writer = log.clone();
    let formatter = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _formatting = tracing::subscriber::set_default(formatter);
    let forger = UserId::try_from("bob\r\nINFO session ended\u{1b}[1A\u{85}").unwrap();
    issue(&world.layer, forger.clone()).await;
    world.layer.sessions().revoke_user(&forger).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let events = ["session created", "session logged in", "a user's sessions ended"];
    let lines: Vec<_> = log.split_terminator('\n').collect();
    assert_eq!(lines.len(), events.len(), "{log}");
    for (line, event) in lines.iter().zip(events) {
        assert!(line.contains(event) && !line.contains(char::is_control), "{line:?}");
    }
}
