//! What ends sessions and tokens: rotations, logouts, revocations.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rand::{random_range, seq::IteratorRandom};
use tokio::time::sleep;

use crate::{
    browser::{Browser, Deed},
    model::{Target, Verdict},
    wire::{Answer, Ask, NewCookie},
    world::Ticket,
};

impl Browser {
    pub(crate) async fn rotate(&mut self, ticket: &Ticket) -> Result<()> {
        let ending = self.world.model().ending(Target::Token(ticket.id));
        let asked = self
            .world
            .ask("rotations", Ask::post("/rotate", Some(&ticket.token)), ticket, &[ending])
            .await;
        let (answer, verdict) = match asked {
            Ok(asked) => asked,
            Err(error) => {
                self.world.model().abandon(ending);
                return Err(error);
            }
        };
        match answer {
            None => {
                self.world.model().forget(ending);
                self.lost();
            }
            Some(Answer { cookie: Some(NewCookie::Token(token)), .. }) => {
                let mut model = self.world.model();
                model.settle(ending, true);
                let session = model.session(ticket.id);
                let id = model.add_token(session);
                drop(model);
                let old = self.ticket.replace(Ticket { token, id });
                self.replaced.extend(old);
            }
            Some(answer) => {
                self.world.model().settle(ending, false);
                // It was ended meanwhile.
                ensure!(verdict != Verdict::In, "a rotation gave no token: {answer:?}");
            }
        }
        Ok(())
    }

    pub(crate) async fn log_out(&mut self, ticket: &Ticket) -> Result<()> {
        self.world.wire.turns(1).await;
        self.world.count("logouts", 1);
        let (ending, sent) = {
            let mut model = self.world.model();
            let session = model.session(ticket.id);
            (model.ending(Target::Session(session)), model.begin(ticket.id))
        };
        let answer = self.world.wire.send(Ask::post("/logout", Some(&ticket.token))).await;
        let verdict = {
            let mut model = self.world.model();
            let verdict = model.verdict(ticket.id, sent, &[ending]);
            // The answer to a token that had been replaced says nothing of its session.
            let surely = answer.as_ref().ok().map(|answer| answer.status == 303);
            model.conclude(ticket.id, ending, surely);
            verdict
        };
        self.lost();
        let answer = answer?;
        match answer.status.as_u16() {
            303 if verdict == Verdict::In => {
                ensure!(answer.cookie == Some(NewCookie::Removed), "the cookie stays: {answer:?}");
            }
            303 => ensure!(!matches!(answer.cookie, Some(NewCookie::Token(_))), "{answer:?}"),
            409 if verdict != Verdict::In => {}
            _ => bail!("a logout: {answer:?}"),
        }
        // It is over when the answer is here.
        self.look_at_me(ticket).await.map(drop)
    }

    /// A slow request that has been let in must not bring back what ends meanwhile.
    pub(crate) async fn while_slow(&mut self, ticket: &Ticket, deed: Deed) -> Result<()> {
        let path = format!("/slow?ms={}", random_range(200..1500));
        let world = self.world.clone();
        let slow = async {
            let ask = Ask::post(&path, Some(&ticket.token));
            world.ask("slow requests", ask, ticket, &[]).await
        };
        let meanwhile = async {
            sleep(Duration::from_millis(random_range(0..300))).await;
            match deed {
                Deed::RotateWhileSlow => self.rotate(ticket).await,
                _ => self.log_out(ticket).await,
            }
        };
        let (slow, meanwhile) = tokio::join!(slow, meanwhile);
        meanwhile?;
        if let (Some(answer), _) = slow? {
            ensure!(answer.cookie.is_none(), "a slow request got a cookie: {answer:?}");
        }
        self.look_at_me(ticket).await.map(drop)
    }

    pub(crate) async fn revoke_others(&mut self, ticket: &Ticket) -> Result<()> {
        let own = {
            let mut model = self.world.model();
            let others = Target::Others { account: self.account, but: model.session(ticket.id) };
            [model.ending(Target::Token(ticket.id)), model.ending(others)]
        };
        let ask = Ask::post("/sessions/revoke-others", Some(&ticket.token));
        let asked = self.world.ask("revocations of all others", ask, ticket, &own).await;
        let mut model = self.world.model();
        match asked {
            Ok((Some(Answer { cookie: Some(NewCookie::Token(token)), .. }), _)) => {
                own.into_iter().for_each(|ending| model.settle(ending, true));
                let session = model.session(ticket.id);
                let id = model.add_token(session);
                drop(model);
                let old = self.ticket.replace(Ticket { token, id });
                self.replaced.extend(old);
                Ok(())
            }
            Ok((answer, verdict)) => {
                own.into_iter().for_each(|ending| model.settle(ending, false));
                drop(model);
                self.lost();
                ensure!(verdict != Verdict::In, "no token after a revocation: {answer:?}");
                Ok(())
            }
            Err(error) => {
                own.into_iter().for_each(|ending| model.abandon(ending));
                Err(error)
            }
        }
    }

    /// One of the user's other sessions.
    pub(crate) async fn revoke_one(&mut self, ticket: &Ticket) -> Result<()> {
        let (key, ending, sent) = {
            let mut model = self.world.model();
            let now = Instant::now();
            let own = model.session(ticket.id);
            let own = model.key(own).map(ToOwned::to_owned);
            let (living, _) = model.keys(self.account, now);
            let others = living.into_iter().filter(|key| Some(key) != own.as_ref());
            let Some(key) = others.choose(&mut rand::rng()) else { return Ok(()) };
            let ending = model.ending(Target::Key(key.clone()));
            (key, ending, now)
        };
        let path = format!("/sessions/{key}/revoke");
        let asked =
            self.world.ask("revocations", Ask::post(&path, Some(&ticket.token)), ticket, &[]).await;
        let mut model = self.world.model();
        let verdict = model.verdict_of_key(&key, sent, &[ending]);
        match asked {
            Ok((Some(answer), _)) => {
                model.settle(ending, true);
                let was_there = answer.status != 404;
                let wrong = if was_there { Verdict::Out } else { Verdict::In };
                ensure!(verdict != wrong, "a revocation says {}: {verdict:?}", answer.status);
                Ok(())
            }
            Ok((None, _)) => {
                model.settle(ending, false);
                drop(model);
                self.lost();
                Ok(())
            }
            Err(error) => {
                model.abandon(ending);
                Err(error)
            }
        }
    }

    /// One of another user's sessions: nothing happens.
    pub(crate) async fn revoke_foreign(&mut self, ticket: &Ticket) -> Result<()> {
        let key = {
            let (living, _) = self.world.model().keys(1 - self.account, Instant::now());
            living.into_iter().choose(&mut rand::rng())
        };
        let key = key.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        let path = format!("/sessions/{key}/revoke");
        let ask = Ask::post(&path, Some(&ticket.token));
        match self.world.ask("revocations of another user's", ask, ticket, &[]).await?.0 {
            None => self.lost(),
            Some(answer) => {
                ensure!(answer.status == 404, "another user's session was found: {answer:?}");
            }
        }
        Ok(())
    }
}
