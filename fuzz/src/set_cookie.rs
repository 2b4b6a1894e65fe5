//! `Set-Cookie` as an independent cookie jar keeps it, sends it back, and forgets it.

mod browser;
mod options;
mod site;

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use cookie::{Cookie, time};
use tower_wristband::{Clock, MemoryStore, SessionLayer, Timestamp, testing::ManualClock};

use self::{browser::Browser, options::Options};
pub(crate) use self::{
    browser::assert_browsers_keep,
    site::{Deed, set_cookie, visit},
};
use crate::sequence;

/// The input is [`Options`], and [`Step`]s.
pub fn check(input: &[u8]) {
    let mut input = Unstructured::new(input);
    if let Ok(options) = input.arbitrary() {
        let steps = sequence(&mut input).take(20);
        a_browser_keeps_the_cookie_where_it_belongs_and_forgets_it(&options, steps);
    }
}

fn a_browser_keeps_the_cookie_where_it_belongs_and_forgets_it(
    options: &Options<'_>,
    steps: impl Iterator<Item = Step>,
) {
    let clock = ManualClock::new();
    let builder = SessionLayer::builder(MemoryStore::new())
        .cookie(options.cookie())
        .lifetime(options.lifetime())
        .clock(clock.clone())
        .random_source(site::numbered());
    // Not all options go together, and not all domains are hosts.
    let Ok(layer) = builder.build() else { return };
    let Some(mut browser) = Browser::new(options) else { return };

    let mut live: Option<Live> = None;
    for Step { later, deed } in steps {
        // Not whole seconds.
        clock.advance(Duration::from_millis(u64::from(later) * 1009));
        let now = clock.now();
        live = live.filter(|live| live.is_alive(options, now));
        let before = browser.cookie();
        let response = visit(&layer, deed, before.as_deref());
        assert_eq!(response.body().is_some(), live.is_some(), "who is let in");

        let line = set_cookie(&response);
        match (deed, &mut live) {
            (Deed::Look, None) | (Deed::Rotate, None) => assert_eq!(line, None),
            (Deed::Look, Some(live)) => {
                assert_eq!(line, None);
                live.see(options, now);
            }
            (Deed::LogOut, None) => {
                // It removes what stands for no session, too.
                assert_eq!(line.is_some(), before.is_some());
                line.iter().for_each(|line| browser.forget(line));
            }
            (Deed::LogOut, Some(_)) => {
                browser.forget(&line.expect("the cookie is removed"));
                live = None;
            }
            (Deed::LogIn | Deed::Rotate, _) => {
                let started =
                    live.filter(|_| deed == Deed::Rotate).map_or(now, |live| live.started);
                live = Some(Live { started, last_seen: now });
                let line = line.expect("a new token");
                let left = (started + options.lifetime().absolute()).saturating_since(now);
                is_written_as_it_was_configured(&line, options, left);
                // The jar's clock goes on by itself.
                if left < Duration::from_secs(600) {
                    return;
                }
                browser.keep(&line);
            }
        }
        if let Some(before) = before.filter(|before| browser.cookie().as_ref() != Some(before)) {
            let response = visit(&layer, Deed::Look, Some(&before));
            assert!(response.body().is_none(), "the replaced token is dead");
        }
    }
}

/// What a user does, a while after the step before.
#[derive(Arbitrary, Debug)]
struct Step {
    later: u16,
    deed: Deed,
}

/// A session that the browser has the cookie of.
#[derive(Clone, Copy)]
struct Live {
    started: Timestamp,
    last_seen: Timestamp,
}

impl Live {
    fn is_alive(&self, options: &Options<'_>, now: Timestamp) -> bool {
        let lifetime = options.lifetime();
        now < self.started + lifetime.absolute() && now < self.last_seen + lifetime.idle()
    }

    fn see(&mut self, options: &Options<'_>, now: Timestamp) {
        if now.saturating_since(self.last_seen) >= options.lifetime().touch_interval() {
            self.last_seen = now;
        }
    }
}

fn is_written_as_it_was_configured(line: &str, options: &Options<'_>, left: Duration) {
    let written = Cookie::parse(line).expect("a cookie");
    let configured = options.cookie();
    assert_eq!(written.name(), configured.name());
    assert_eq!(written.path(), Some(&*options.path()));
    assert_eq!(written.domain(), options.domain().as_deref());
    assert_eq!(written.secure(), options.is_secure().then_some(true));
    assert_eq!(written.http_only(), Some(true));
    assert_eq!(
        written.same_site().map(|same_site| same_site.to_string()),
        Some(options.same_site().to_string()),
    );
    assert_eq!(written.partitioned(), options.is_partitioned().then_some(true));
    assert_eq!(written.expires(), None);
    // Rounded up.
    let seconds = i64::try_from(left.as_millis().div_ceil(1000)).expect("at most 400 days");
    let until_closed = options.lifetime().ends_with_browser();
    assert_eq!(written.max_age(), (!until_closed).then(|| time::Duration::seconds(seconds)));
    assert_browsers_keep(&written);
}
