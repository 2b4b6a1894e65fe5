//! A stream of events, which ends with its session.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1, header::ACCEPT};
use hyper_util::rt::TokioIo;
use rand::{random_bool, random_range};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    model::{AFTERMATH, SessionId, Target, Verdict},
    wire::Ask,
    world::{Ticket, World},
};

/// An event comes every second. Less than most streams are open: who closes one waits for none.
const SILENCE: Duration = Duration::from_secs(30);

/// How long ago the site's look at a session may be that a stream ends by: less than a session lives without a
/// request, or nothing would be known of any.
const LOOK: Duration = Duration::from_secs(8);

/// How long it takes at the most to read what nobody has read for a while.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// How long a stream may go on after its session was ended: far less than it takes a site that only looks
/// every 30 seconds.
const LATE: Duration = Duration::from_secs(20);

/// The same for one that has expired.
const EXPIRED_LATE: Duration = Duration::from_secs(50);

pub(crate) async fn watch(world: &World, ticket: &Ticket) -> Result<()> {
    world.wire.turns(1).await;
    world.count("streams", 1);
    // Dropped, it ends the connection.
    let mut connections = JoinSet::new();
    let sent = world.model().begin(ticket.id);
    let answer = async {
        let connection = TcpStream::connect(world.wire.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
        connections.spawn(connection);
        let mut request = Ask::get("/live", Some(&ticket.token)).request()?;
        request.headers_mut().insert(ACCEPT, "text/event-stream".parse()?);
        Ok::<_, anyhow::Error>(sender.send_request(request).await?)
    };
    let answer = match answer.await {
        Ok(answer) if matches!(answer.status().as_u16(), 200 | 401) => answer,
        other => {
            world.model().lose(ticket.id, AFTERMATH);
            let status = other?.status();
            ensure!(status != 503, world.wire.unavailable(1));
            bail!("{status}");
        }
    };
    let let_in = answer.status() == 200;
    world.model().judge(ticket.id, sent, &[], let_in)?;
    if !let_in {
        return Ok(());
    }
    let mut caught_up = Instant::now();
    if random_bool(0.2) {
        // The site has to keep what isn't read.
        sleep(Duration::from_secs(random_range(1..8))).await;
        caught_up = Instant::now() + CATCHING_UP;
    }
    let duration = Duration::from_secs(random_range(1..90));
    let session = world.model().session(ticket.id);
    // Whoever closes the page cuts the connection.
    let read = timeout(duration, read(world, session, sent, caught_up, answer.into_body())).await;
    read.unwrap_or(Ok(()))
}

async fn read(
    world: &World,
    session: SessionId,
    opened: Instant,
    caught_up: Instant,
    mut events: Incoming,
) -> Result<()> {
    let mut text = String::new();
    loop {
        let event = timeout(SILENCE, events.frame()).await.context("no event for long")?;
        let Some(frame) = event else { break };
        let frame = frame?;
        text.push_str(std::str::from_utf8(frame.data_ref().context("data")?)?);
        if text.contains("signed-out") || Instant::now() < caught_up {
            continue;
        }
        let (ended, expiry) = {
            let model = world.model();
            (model.end_of_session(session), model.expiry(session))
        };
        for (end, late) in [(ended, LATE), (expiry, EXPIRED_LATE)] {
            let over = end.map(|end| end.elapsed()).unwrap_or_default();
            if over > late {
                let session = world.model().tell_of_session(session);
                bail!("it goes on {over:?} after the end of its session: {session}");
            }
        }
        text.clear();
    }
    ensure!(text.contains("event: signed-out"), "it ends without a word: {text:?}");
    world.count("streams that ended", 1);
    let mut model = world.model();
    let looked = Instant::now().checked_sub(LOOK).unwrap_or(opened).max(opened);
    let verdict = model.verdict_of_session(session, looked, 0, &[]);
    // Activity on its way to the store may put off an expiry that has been told; nothing else is undone.
    let ending = model.ending(Target::Session(session));
    let surely = model.is_remembered(session);
    model.settle(ending, surely);
    ensure!(verdict != Verdict::In, "it ends although its session lives");
    Ok(())
}
