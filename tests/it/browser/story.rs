//! A login and a logout, in the tabs of a browser.

use super::{Chromium, sign_out, sites};

#[tokio::test]
async fn a_login_counts_in_every_tab_until_a_logout_and_then_the_back_button_shows_nothing_private()
{
    let browser = Chromium::start().await;
    for site in sites().await {
        let first = browser.tab().await;
        browser.open(&site.url("/dashboard")).await;
        browser.arrives_at("/login").await;
        browser.log_in("alice", "wonderland").await;
        browser.arrives_at("/dashboard").await;
        assert!(is_private(&browser).await);
        browser.reload().await;
        assert!(is_private(&browser).await);
        browser.open(&site.url("/sessions")).await;
        browser.shows("this one").await;

        browser.new_tab().await;
        browser.open(&site.url("/dashboard")).await;
        assert!(is_private(&browser).await);
        sign_out(&browser).await;
        assert!(!is_private(&browser).await);
        assert_eq!(browser.cookies(&site.url("/")).await, [] as [serde_json::Value; 0]);

        browser.back().await;
        browser.arrives_at("/login").await;
        assert!(!is_private(&browser).await);

        // What the other tab shows is from before, and nothing more can be done there.
        browser.switch_to(&first).await;
        browser.back().await;
        browser.arrives_at("/login").await;
        browser.open(&site.url("/sessions")).await;
        browser.arrives_at("/login").await;
        assert!(!is_private(&browser).await);
    }
}

/// Whether the page shows what a session alone gives.
async fn is_private(browser: &Chromium) -> bool {
    browser.text().await.to_lowercase().contains("alice\nno.")
}
