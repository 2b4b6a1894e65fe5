//! Logins, also over another session, and those that fail.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rand::random_bool;

use crate::{
    browser::{ACCOUNTS, Browser},
    data::Tally,
    model::{AFTERMATH, Target, Verdict},
    wire::{Answer, Ask, NewCookie},
    world::Ticket,
};

impl Browser {
    pub(crate) async fn log_in(&mut self) -> Result<()> {
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
            let surely = answer.as_ref().ok().map(|answer| answer.status == 303);
            model.conclude(ticket.id, ending, surely);
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
        let cut = self.world.wire.cut(ask).await;
        if let (Some((ticket, _)), Some(ending)) = (visitor, ending) {
            let mut model = self.world.model();
            model.lose(ticket.id, AFTERMATH);
            model.abandon(ending);
            drop(model);
            self.keep(ticket);
        }
        cut.map(drop)
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
    pub(crate) async fn log_in_over(&mut self, ticket: &Ticket, account: usize) -> Result<()> {
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
            // A token that had been replaced says nothing of its session.
            let is_in = |answer: &Answer| verdict == Verdict::In && answer.status == 303;
            model.conclude(ticket.id, ending, answer.as_ref().ok().map(is_in));
            verdict
        };
        let key = key.filter(|_| verdict == Verdict::In);
        let (count, notes, visits) =
            (std::mem::take(&mut self.count), std::mem::take(&mut self.notes), self.visits.take());
        self.lost();
        let answer = answer?;
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
}

pub(crate) fn form(account: usize, remember: bool) -> String {
    let (user, password) = ACCOUNTS[account];
    let remember = if remember { "&remember=on" } else { "" };
    format!("user={user}&password={password}{remember}")
}
