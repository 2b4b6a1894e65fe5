//! What ends nothing: reads and writes, and requests that are cut.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::{random, random_bool, random_range};

use crate::{
    browser::{ACCOUNTS, Browser, Deed},
    data::Tally,
    logins::form,
    model::{AFTERMATH, Target, Verdict},
    wire::{Answer, Ask},
    world::{Ticket, visits},
};

/// The names of the notes of a session.
const NOTES: u8 = 3;

const READ_SLOWLY: usize = 40;

impl Browser {
    pub(crate) async fn look(&mut self, ticket: &Ticket, deed: Deed) -> Result<()> {
        let known = match deed {
            Deed::Me => self.look_at_me(ticket).await?.is_some(),
            Deed::Home => {
                let mut visits = self.visits.take();
                let known = self.look_at_home(ticket, visits.as_mut()).await;
                self.visits = visits;
                known?
            }
            Deed::Dashboard => {
                let (user, _) = ACCOUNTS[self.account];
                let page = self.get("reads", "/dashboard", ticket).await?;
                let is_right = |page: &Answer| page.body.contains(&format!(">{user}</span>"));
                ensure!(page.as_ref().is_none_or(is_right), "somebody else's dashboard: {page:?}");
                page.is_some()
            }
            Deed::Count => {
                let sent = Instant::now();
                let answer = self.get("reads", "/count", ticket).await?;
                if let Some(answer) = &answer {
                    self.count.is(sent, answer.body.parse()?).context("GET /count")?;
                }
                answer.is_some()
            }
            Deed::CountUp => self.count_up(ticket, 1).await?,
            Deed::CountInParallel => self.count_up(ticket, random_range(2..5)).await?,
            Deed::ReadNote => {
                let name = random_range(0..NOTES);
                let sent = Instant::now();
                let answer = self.get("reads", &format!("/notes/{name}"), ticket).await?;
                if let Some(answer) = &answer {
                    let read = (answer.status == 200).then(|| answer.body.clone());
                    self.notes.is(name, sent, read)?;
                }
                answer.is_some()
            }
            Deed::WriteNote => {
                let (name, text) = (random_range(0..NOTES), text());
                let path = format!("/notes/{name}");
                let sent = Instant::now();
                let ask = put(&path, &ticket.token, &text);
                let asked = self.world.ask("writes", ask, ticket, &[]).await;
                match &asked {
                    Ok(_) => self.notes.written(name, sent, text),
                    Err(_) => self.notes.cut(name, text),
                }
                asked?.0.is_some()
            }
            Deed::Devices => self.look_at_devices(ticket).await?,
            Deed::RevokeOne => return self.revoke_one(ticket).await,
            Deed::RevokeForeign => return self.revoke_foreign(ticket).await,
            Deed::Replay => return self.replay().await,
            Deed::Expire => self.expire(ticket).await?,
            Deed::ReadSlowly => return self.read_slowly(ticket).await,
            _ => return self.cut(ticket).await,
        };
        if !known {
            self.lost();
        }
        Ok(())
    }

    async fn get(&self, kind: &'static str, path: &str, ticket: &Ticket) -> Result<Option<Answer>> {
        let ask = Ask::get(path, Some(&ticket.token));
        let (answer, _) = self.world.ask(kind, ask, ticket, &[]).await?;
        let cookie = answer.as_ref().and_then(|answer| answer.cookie.as_ref());
        ensure!(cookie.is_none(), "{path} changed the cookie");
        Ok(answer)
    }

    /// The session's key, if somebody is signed in.
    pub(crate) async fn look_at_me(&self, ticket: &Ticket) -> Result<Option<String>> {
        let Some(answer) = self.get("reads", "/me", ticket).await? else { return Ok(None) };
        let field = |name: &str| {
            let (_, rest) = answer.body.split_once(&format!("\"{name}\":\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let (user, key) = (field("user").context("a user")?, field("key").context("a key")?);
        ensure!(user == ACCOUNTS[self.account].0, "signed in as {user}");
        let model = self.world.model();
        let known = model.key(model.session(ticket.id));
        ensure!(known.is_none_or(|known| known == key), "{known:?} is {key}");
        Ok(Some(key))
    }

    pub(crate) async fn look_at_home(
        &self,
        ticket: &Ticket,
        mut counted: Option<&mut Tally>,
    ) -> Result<bool> {
        let sent = Instant::now();
        let page = self.get("reads", "/", ticket).await;
        if let (Err(_), Some(tally)) = (&page, &mut counted) {
            tally.cut();
        }
        let Some(page) = page? else { return Ok(false) };
        match (counted, visits(&page)) {
            (None, None) => {}
            (Some(tally), Some(visits)) => tally.added(sent, vec![visits]).context("visits")?,
            other => bail!("visits that should (not) be counted: {other:?}"),
        }
        Ok(true)
    }

    async fn count_up(&mut self, ticket: &Ticket, times: usize) -> Result<bool> {
        let sent = Instant::now();
        let one =
            || self.world.ask("writes", Ask::post("/count", Some(&ticket.token)), ticket, &[]);
        let (one, two, three, four) = tokio::join!(
            one(),
            async { if times > 1 { Some(one().await) } else { None } },
            async { if times > 2 { Some(one().await) } else { None } },
            async { if times > 3 { Some(one().await) } else { None } },
        );
        let mut numbers = Vec::new();
        let (mut known, mut failure) = (true, None);
        for asked in [Some(one), two, three, four].into_iter().flatten() {
            match asked {
                Ok((Some(answer), _)) => numbers.push(answer.body.parse()?),
                // What was refused has added nothing, and the session has ended.
                Ok((None, _)) => known = false,
                Err(error) => {
                    self.count.cut();
                    failure = Some(error);
                }
            }
        }
        self.count.added(sent, numbers).context("POST /count")?;
        failure.map_or(Ok(known), Err)
    }

    async fn look_at_devices(&self, ticket: &Ticket) -> Result<bool> {
        let sent = Instant::now();
        let Some(page) = self.get("lists", "/sessions", ticket).await? else { return Ok(false) };
        let keys = page.body.split("action=\"/sessions/").skip(1);
        let listed: Vec<_> =
            keys.filter_map(|rest| Some(rest.split_once("/revoke\"")?.0)).collect();
        let mut model = self.world.model();
        let (living, dead) = model.keys(self.account, sent);
        if let Some(key) = listed.iter().find(|key| dead.contains(**key)) {
            bail!("a list has {key}, which has ended: {}", model.tell_of_key(key));
        }
        // No more than a hundred are shown.
        if listed.len() < 100 {
            let missing = living.iter().find(|key| !listed.contains(&key.as_str()));
            if let Some(key) = missing {
                bail!("a list of {} lacks {key}: {}", listed.len(), model.tell_of_key(key));
            }
        }
        Ok(true)
    }

    /// A token that was good once.
    async fn replay(&mut self) -> Result<()> {
        let Some(ticket) = self.replaced.front().cloned() else { return Ok(()) };
        self.replaced.rotate_left(1);
        self.try_again(&ticket).await
    }

    pub(crate) async fn try_again(&self, ticket: &Ticket) -> Result<()> {
        let ask = if self.world.model().is_visitor(ticket.id) {
            Ask::get("/", Some(&ticket.token))
        } else if random_bool(0.5) {
            Ask::get("/me", Some(&ticket.token))
        } else {
            Ask::post("/count", Some(&ticket.token))
        };
        self.world.ask("replays", ask, ticket, &[]).await.map(drop)
    }

    async fn read_slowly(&self, ticket: &Ticket) -> Result<()> {
        self.world.wire.turns(READ_SLOWLY as u32).await;
        self.world.count("slow reads", READ_SLOWLY as u64);
        let (user, _) = ACCOUNTS[self.account];
        let sent = self.world.model().begin(ticket.id);
        let ask = Ask::get("/dashboard", Some(&ticket.token));
        let answers =
            self.world.wire.read_slowly(ask, READ_SLOWLY, &format!(">{user}</span>")).await;
        let (verdict, told) = {
            let mut model = self.world.model();
            let verdict = model.verdict(ticket.id, sent, &[]);
            model.lose(ticket.id, Duration::ZERO);
            (verdict, model.tell(ticket.id))
        };
        let (answers, unavailable) = answers?;
        let wrong = match verdict {
            Verdict::In => answers + unavailable != READ_SLOWLY,
            Verdict::Out => answers > 0,
            Verdict::Either => false,
        };
        ensure!(!wrong, "{answers} of {READ_SLOWLY} pages, {verdict:?}: {told}");
        Ok(())
    }

    async fn cut(&mut self, ticket: &Ticket) -> Result<()> {
        self.world.wire.turns(1).await;
        self.world.count("cut", 1);
        let token = Some(ticket.token.as_str());
        let (name, text) = (random_range(0..NOTES), text());
        let (note, login) = (format!("/notes/{name}"), form(self.account, false));
        let account = self.account;
        let session = self.world.model().session(ticket.id);
        let others = Target::Others { account, but: session };
        let replaced = Target::Token(ticket.id);
        let (ask, targets) = match random_range(0..100) {
            0..20 => (Ask::get("/me", token), vec![]),
            20..30 => (Ask::get("/dashboard", token), vec![]),
            30..40 => (Ask::get("/sessions", token), vec![]),
            40..58 => (Ask::post("/count", token), vec![]),
            58..76 => (put(&note, &ticket.token, &text), vec![]),
            76..84 => (Ask::post("/slow?ms=300", token), vec![]),
            84..92 => (Ask::get("/live", token), vec![]),
            92..95 => (Ask::post("/rotate", token), vec![replaced]),
            95..97 => (Ask::post("/logout", token), vec![Target::Session(session)]),
            97..99 => (
                Ask::post("/login", token).with_body(login),
                vec![Target::Session(session), replaced],
            ),
            _ => (Ask::post("/sessions/revoke-others", token), vec![replaced, others]),
        };
        let (counts, writes) = (ask.path == "/count", ask.path == note);
        // After a login over it, whatever is known of it is no more.
        let ends_all = ask.path == "/login";
        let endings: Vec<_> = {
            let mut model = self.world.model();
            model.begin(ticket.id);
            if ends_all {
                model.pass_key_on(session, true);
            }
            targets.into_iter().map(|target| model.ending(target)).collect()
        };
        let whole = self.world.wire.cut(ask).await;
        {
            let mut model = self.world.model();
            model.lose(ticket.id, AFTERMATH);
            for ending in endings {
                match whole {
                    Ok(false) => {
                        model.forget(ending);
                        model.pass_key_on(session, false);
                    }
                    _ => model.abandon(ending),
                }
            }
        }
        if whole? {
            if counts {
                self.count.cut();
            }
            if writes {
                self.notes.cut(name, text);
            }
            if ends_all {
                self.lost();
            }
        }
        Ok(())
    }
}

fn put<'a>(path: &'a str, token: &'a str, text: &str) -> Ask<'a> {
    Ask { method: hyper::Method::PUT, ..Ask::post(path, Some(token)) }.with_body(text)
}

/// Nobody else writes the same.
fn text() -> String {
    let length = random_range(1..40);
    format!("{:x} ", random::<u64>()).repeat(length)
}
