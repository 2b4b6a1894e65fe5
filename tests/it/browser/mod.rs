//! The demo site in a real browser: Chromium, driven by chromedriver.

mod chromium;
mod cookie;
mod cross_site;
mod devices;
mod pages;
mod story;

use self::chromium::Chromium;
use crate::site::Site;

/// The site over a store in its own memory, and over Redis.
async fn sites() -> [Site; 2] {
    let (in_memory, on_redis) = tokio::join!(Site::in_memory(), Site::on_redis());
    [in_memory, on_redis]
}
