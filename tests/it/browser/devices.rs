//! Two browsers of one user.

use super::{Chromium, sign_out, sites};
use crate::site::Site;

/// Signs in, and stays on the page of devices.
async fn signed_in(browser: &Chromium, site: &Site) {
    browser.open(&site.url("/login?next=/sessions")).await;
    browser.log_in("alice", "wonderland").await;
    browser.arrives_at("/sessions").await;
}

/// Loads the page of devices again: how many there are, and that this is one of them.
async fn devices(browser: &Chromium, site: &Site) -> usize {
    browser.open(&site.url("/sessions")).await;
    assert_eq!(browser.count(".devices .badge").await, 1, "this one");
    browser.count(".devices li").await
}

#[tokio::test]
async fn what_one_browser_signs_out_is_out_in_the_other_at_once_with_its_open_page() {
    let (here, there) = tokio::join!(Chromium::start(), Chromium::start());
    for site in sites().await {
        signed_in(&here, &site).await;
        signed_in(&there, &site).await;
        assert_eq!(devices(&here, &site).await, 2);

        // The other one alone.
        there.open(&site.url("/live")).await;
        until_it_ticks(&there).await;
        // This one comes first.
        here.click(".devices li:nth-child(2) button").await;
        here.shows("That browser is signed out.").await;
        there.shows("signed out").await;
        assert_eq!(devices(&here, &site).await, 1);
        is_out(&there, &site).await;

        // All others.
        signed_in(&there, &site).await;
        there.open(&site.url("/live")).await;
        until_it_ticks(&there).await;
        assert_eq!(devices(&here, &site).await, 2);
        here.click("form[action='/sessions/revoke-others'] button").await;
        here.shows("The other browser is signed out.").await;
        there.shows("signed out").await;
        assert_eq!(devices(&here, &site).await, 1);
        is_out(&there, &site).await;

        sign_out(&here).await;
    }
}

/// The page has a connection that stays open, and shows what comes.
async fn until_it_ticks(browser: &Chromium) {
    // The time, as in 2026-01-31T18:05:00.123Z.
    browser.shows("Z\n").await;
    assert!(!browser.text().await.contains("signed out"));
}

/// Nothing private is shown any more, whichever way.
async fn is_out(browser: &Chromium, site: &Site) {
    // To the page of devices, which this browser has shown a moment ago.
    browser.back().await;
    browser.arrives_at("/login").await;
    browser.open(&site.url("/dashboard")).await;
    browser.arrives_at("/login").await;
}
