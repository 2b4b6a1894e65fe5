//! The demo site in a real browser: Chromium, driven by chromedriver.

mod chromium;
mod cookie;
mod cross_site;
mod devices;
mod pages;
mod story;

use self::chromium::Chromium;
use crate::site::Site;

/// Signs alice in on the page that asks for it.
async fn sign_in(browser: &Chromium, site: &Site) {
    browser.open(&site.url("/login")).await;
    browser.log_in("alice", "wonderland").await;
    browser.arrives_at("/dashboard").await;
}

/// Signs out, on whatever page of somebody who is signed in.
async fn sign_out(browser: &Chromium) {
    browser.log_out().await;
    browser.arrives_at("/").await;
}

/// The site over a store in its own memory, and over Redis.
async fn sites() -> [Site; 2] {
    let (in_memory, on_redis) = tokio::join!(Site::in_memory(), Site::on_redis());
    [in_memory, on_redis]
}
