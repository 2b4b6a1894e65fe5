//! A browser: logs in, looks around, and logs out, again and again.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rand::{random_bool, random_range, seq::IndexedRandom};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    data::{Notes, Tally},
    stream,
    wire::{Ask, NewCookie},
    world::{Ticket, World},
};

/// The demo's accounts.
pub(crate) const ACCOUNTS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];

/// How many tokens that are no longer good a browser tries again now and then.
const REPLAYED: usize = 6;

const STREAMS: usize = 2;

pub(crate) struct Browser {
    pub(crate) world: Arc<World>,
    pub(crate) account: usize,
    pub(crate) ticket: Option<Ticket>,
    /// Of a session without a user, and what its owner's visits are.
    pub(crate) visitor: Option<(Ticket, Tally)>,
    pub(crate) count: Tally,
    pub(crate) notes: Notes,
    /// It cuts no request of somebody signed in, so that it is known exactly when its sessions expire.
    pub(crate) is_patient: bool,
    /// None if they are not counted.
    pub(crate) visits: Option<Tally>,
    pub(crate) replaced: VecDeque<Ticket>,
    streams: JoinSet<()>,
}

/// What a browser does next, and how often.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    Me,
    Dashboard,
    Home,
    Count,
    CountUp,
    CountInParallel,
    ReadNote,
    WriteNote,
    Rotate,
    RotateWhileSlow,
    LogOut,
    LogOutWhileSlow,
    LogInAgain,
    LogInAsTheOther,
    Devices,
    RevokeOne,
    RevokeForeign,
    RevokeOthers,
    Replay,
    PassBy,
    Expire,
    Stream,
    ReadSlowly,
    Cut,
}

const DEEDS: [(Deed, f64); 24] = [
    (Deed::Me, 20.0),
    (Deed::Dashboard, 8.0),
    (Deed::Home, 8.0),
    (Deed::Count, 6.0),
    (Deed::CountUp, 14.0),
    (Deed::CountInParallel, 3.0),
    (Deed::ReadNote, 8.0),
    (Deed::WriteNote, 8.0),
    (Deed::Rotate, 6.0),
    (Deed::RotateWhileSlow, 0.5),
    (Deed::LogOut, 0.4),
    (Deed::LogOutWhileSlow, 0.3),
    (Deed::LogInAgain, 0.3),
    (Deed::LogInAsTheOther, 0.2),
    (Deed::Devices, 3.0),
    (Deed::RevokeOne, 0.6),
    (Deed::RevokeForeign, 0.6),
    (Deed::RevokeOthers, 0.03),
    (Deed::Replay, 6.0),
    (Deed::PassBy, 4.0),
    (Deed::Expire, 0.4),
    (Deed::Stream, 1.5),
    (Deed::ReadSlowly, 0.15),
    (Deed::Cut, 6.0),
];

impl Browser {
    pub(crate) fn new(world: Arc<World>, number: usize) -> Self {
        Self {
            world,
            account: number % ACCOUNTS.len(),
            is_patient: number.is_multiple_of(3),
            ticket: None,
            visitor: None,
            count: Tally::default(),
            notes: Notes::default(),
            visits: None,
            replaced: VecDeque::new(),
            streams: JoinSet::new(),
        }
    }

    /// Lives until the world stops.
    pub(crate) async fn live(mut self) -> Self {
        while !self.world.is_stopped() {
            if let Err(error) = self.act().await
                && self.world.failed(&error)
            {
                self.lost();
            }
            while self.streams.try_join_next().is_some() {}
        }
        self.streams.shutdown().await;
        self
    }

    async fn act(&mut self) -> Result<()> {
        let Some(ticket) = self.ticket.clone() else {
            if self.visitor.is_none() && random_bool(0.3) {
                self.visitor = self.visit().await?;
            }
            return self.log_in().await;
        };
        let (deed, _) = DEEDS.choose_weighted(&mut rand::rng(), |(_, weight)| *weight)?;
        match deed {
            Deed::Rotate => self.rotate(&ticket).await,
            Deed::RotateWhileSlow | Deed::LogOutWhileSlow => self.while_slow(&ticket, *deed).await,
            Deed::LogOut => self.log_out(&ticket).await,
            Deed::LogInAgain => self.log_in_over(&ticket, self.account).await,
            Deed::LogInAsTheOther => self.log_in_over(&ticket, 1 - self.account).await,
            Deed::RevokeOthers => self.revoke_others(&ticket).await,
            Deed::PassBy => {
                if let Some((ticket, _)) = self.visit().await? {
                    self.keep(ticket);
                }
                Ok(())
            }
            Deed::Stream => {
                self.stream(&ticket);
                Ok(())
            }
            Deed::Cut if self.is_patient => Ok(()),
            _ => self.look(&ticket, *deed).await,
        }
    }

    /// The session is no more, or nobody knows.
    pub(crate) fn lost(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.keep(ticket);
        }
        self.count = Tally::default();
        self.notes = Notes::default();
        self.visits = None;
    }

    /// To be tried again later.
    pub(crate) fn keep(&mut self, ticket: Ticket) {
        self.replaced.push_back(ticket);
        if self.replaced.len() > REPLAYED {
            self.replaced.pop_front();
        }
    }

    fn stream(&mut self, ticket: &Ticket) {
        if self.streams.len() < STREAMS {
            let (world, ticket) = (Arc::clone(&self.world), ticket.clone());
            self.streams.spawn(async move {
                if let Err(error) = stream::watch(&world, &ticket).await {
                    world.failed(&error.context("GET /live"));
                }
            });
        }
    }

    /// Asks to be remembered, and looks at the front page.
    async fn visit(&mut self) -> Result<Option<(Ticket, Tally)>> {
        self.world.wire.turns(1).await;
        self.world.count("visits", 1);
        let sent = Instant::now();
        let ask = Ask::post("/remember-me-here", None);
        if random_bool(0.1) {
            self.world.wire.cut(ask).await?;
            return Ok(None);
        }
        let answer = self.world.wire.send(ask).await?;
        let Some(NewCookie::Token(token)) = answer.cookie else {
            bail!("a visitor got no token: {answer:?}");
        };
        let id = {
            let mut model = self.world.model();
            let session = model.add_session(None, None, sent, Some(self.world.idle));
            model.add_token(session)
        };
        let ticket = Ticket { token, id };
        let mut visits = Tally::default();
        let known = self.look_at_home(&ticket, Some(&mut visits)).await?;
        Ok(known.then_some((ticket, visits)))
    }

    pub(crate) async fn look_again(&self) -> Result<()> {
        let Some(ticket) = &self.ticket else { return Ok(()) };
        self.look_at_me(ticket).await.map(drop)
    }

    /// At the end: still signed in, then no more.
    pub(crate) async fn part(mut self) -> Result<()> {
        let Some(ticket) = self.ticket.clone() else { return Ok(()) };
        if self.look_at_me(&ticket).await?.is_some() {
            self.log_out(&ticket).await?;
        }
        while let Some(ticket) = self.replaced.pop_front() {
            self.try_again(&ticket).await?;
        }
        Ok(())
    }

    /// Does nothing for longer than a session lives without a request.
    pub(crate) async fn expire(&self, ticket: &Ticket) -> Result<bool> {
        sleep(self.world.idle + Duration::from_millis(random_range(0..1500))).await;
        self.world.count("expiries", 1);
        Ok(self.look_at_me(ticket).await?.is_some())
    }
}
