//! The demo site in a real browser: Chromium, driven by chromedriver.

mod chromium;
mod cookie;
mod cross_site;
mod devices;
mod pages;
mod story;

use self::chromium::Chromium;
use crate::{servers::server, site::Site};

/// The site over a store in its own memory, and over Redis.
async fn sites() -> [Site; 2] {
    let redis = server("WRISTBAND_REDIS");
    [Site::over("memory").await, Site::over(&redis).await]
}
