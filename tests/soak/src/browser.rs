//! A browser: logs in, looks around, and logs out, again and again.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rand::{random_bool, random_range, seq::IndexedRandom};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    data::{Notes, Tally},
    model::{Target, Verdict},
    stream,
    wire::{Answer, Ask, NewCookie},
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
    visitor: Option<(Ticket, Tally)>,
    pub(crate) count: Tally,
    pub(crate) notes: Notes,
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
    (Deed::Expire, 0.6),
    (Deed::Stream, 1.5),
    (Deed::ReadSlowly, 0.15),
    (Deed::Cut, 6.0),
];

impl Browser {
    pub(crate) fn new(world: Arc<World>, account: usize) -> Self {
        Self {
            world,
            account,
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
            if let Err(error) = self.act().await {
                self.world.found(&format!("{error:#}"));
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
    fn keep(&mut self, ticket: Ticket) {
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
                    world.found(&format!("{:#}", error.context("GET /live")));
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

    async fn log_in(&mut self) -> Result<()> {
        let visitor = self.visitor.take();
        let presented = visitor.as_ref().map(|(ticket, _)| ticket.token.clone());
        if random_bool(0.05) {
            return self.fail_to_log_in(presented.as_deref()).await;
        }
        let remember = random_bool(0.2);
        if !remember && random_bool(0.05) {
            // Whatever comes of it, nobody will ever know its token.
            return self.log_in_and_cut(presented.as_deref(), visitor).await;
        }
        let (ending, sent) = match &visitor {
            Some((ticket, _)) => {
                let mut model = self.world.model();
                (Some(model.ending(Target::Token(ticket.id))), model.begin(ticket.id))
            }
            None => (None, Instant::now()),
        };
        let answer = self.send_login(self.account, remember, presented.as_deref()).await;
        let mut verdict = Verdict::Out;
        if let (Some((ticket, _)), Some(ending)) = (&visitor, ending) {
            let mut model = self.world.model();
            verdict = model.verdict(ticket.id, sent, &[ending]);
            model.lose(ticket.id, Duration::ZERO);
            model.settle(ending, true);
        }
        self.logged_in(self.account, answer?, remember, sent, None)?;
        if let Some((ticket, visits)) = visitor {
            self.keep(ticket);
            match verdict {
                Verdict::In => self.visits = Some(visits),
                Verdict::Out => {}
                // It may have expired just before.
                Verdict::Either => return self.leave().await,
            }
        }
        self.learn_key(None).await
    }

    async fn send_login(
        &self,
        account: usize,
        remember: bool,
        presented: Option<&str>,
    ) -> Result<Answer> {
        self.world.wire.turns(1).await;
        self.world.count("logins", 1);
        self.world
            .wire
            .send(Ask::post("/login", presented).with_body(form(account, remember)))
            .await
    }

    async fn fail_to_log_in(&self, presented: Option<&str>) -> Result<()> {
        self.world.wire.turns(1).await;
        self.world.count("wrong passwords", 1);
        let ask = Ask::post("/login", presented).with_body("user=alice&password=builder");
        let answer = self.world.wire.send(ask).await?;
        ensure!(answer.status == 403 && answer.cookie.is_none(), "a wrong password: {answer:?}");
        Ok(())
    }

    async fn log_in_and_cut(
        &mut self,
        presented: Option<&str>,
        visitor: Option<(Ticket, Tally)>,
    ) -> Result<()> {
        self.world.wire.turns(1).await;
        self.world.count("cut", 1);
        let ending = visitor.as_ref().map(|(ticket, _)| {
            let mut model = self.world.model();
            model.begin(ticket.id);
            model.ending(Target::Token(ticket.id))
        });
        let ask = Ask::post("/login", presented).with_body(form(self.account, false));
        self.world.wire.cut(ask).await?;
        if let (Some((ticket, _)), Some(ending)) = (visitor, ending) {
            let mut model = self.world.model();
            model.lose(ticket.id, crate::model::AFTERMATH);
            model.abandon(ending);
            drop(model);
            self.keep(ticket);
        }
        Ok(())
    }

    fn logged_in(
        &mut self,
        account: usize,
        answer: Answer,
        remember: bool,
        sent: Instant,
        key: Option<String>,
    ) -> Result<()> {
        let place = answer.location.as_deref();
        let (303, Some("/dashboard"), Some(NewCookie::Token(token))) =
            (answer.status.as_u16(), place, answer.cookie)
        else {
            bail!("a login: {} to {place:?}, or no cookie", answer.status);
        };
        let idle = (!remember).then_some(self.world.idle);
        let mut model = self.world.model();
        let session = model.add_session(Some(account), key, sent, idle);
        self.ticket = Some(Ticket { token, id: model.add_token(session) });
        Ok(())
    }

    /// The key of the new session, which has to be this one if one is expected.
    async fn learn_key(&mut self, expected: Option<String>) -> Result<()> {
        let Some(ticket) = self.ticket.clone() else { return Ok(()) };
        let Some(key) = self.look_at_me(&ticket).await? else { return Ok(()) };
        if let Some(expected) = expected {
            ensure!(key == expected, "a login of the same user has another key");
        }
        let mut model = self.world.model();
        let session = model.session(ticket.id);
        model.set_key(session, key);
        Ok(())
    }

    /// Logs in while signed in, as the same user or as another.
    async fn log_in_over(&mut self, ticket: &Ticket, account: usize) -> Result<()> {
        let remember = random_bool(0.2);
        let same = account == self.account;
        let (ending, key, sent) = {
            let mut model = self.world.model();
            let session = model.session(ticket.id);
            let key = model.key(session).filter(|_| same).map(ToOwned::to_owned);
            model.pass_key_on(session, same);
            (model.ending(Target::Session(session)), key, model.begin(ticket.id))
        };
        let answer = self.send_login(account, remember, Some(&ticket.token)).await;
        let verdict = {
            let mut model = self.world.model();
            let verdict = model.verdict(ticket.id, sent, &[ending]);
            model.lose(ticket.id, Duration::ZERO);
            // A token that had been replaced says nothing of its session.
            model.settle(ending, verdict == Verdict::In && answer.is_ok());
            verdict
        };
        let answer = answer?;
        let key = key.filter(|_| verdict == Verdict::In);
        let (count, notes, visits) =
            (std::mem::take(&mut self.count), std::mem::take(&mut self.notes), self.visits.take());
        self.lost();
        if answer.status == 401 && same && verdict != Verdict::In {
            return Ok(());
        }
        self.logged_in(account, answer, remember, sent, key.clone())?;
        self.account = account;
        match verdict {
            // The other user's data is not for this one.
            _ if !same => self.learn_key(None).await,
            Verdict::In => {
                (self.count, self.notes, self.visits) = (count, notes, visits);
                {
                    let mut model = self.world.model();
                    let session = model.session(ticket.id);
                    model.pass_key_on(session, false);
                }
                self.learn_key(key).await
            }
            Verdict::Either | Verdict::Out => self.leave().await,
        }
    }

    /// Logs out of a session that nobody knows enough of.
    async fn leave(&mut self) -> Result<()> {
        let ticket = self.ticket.clone().context("signed in")?;
        self.log_out(&ticket).await
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

pub(crate) fn form(account: usize, remember: bool) -> String {
    let (user, password) = ACCOUNTS[account];
    let remember = if remember { "&remember=on" } else { "" };
    format!("user={user}&password={password}{remember}")
}
