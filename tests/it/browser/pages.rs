//! How the pages look.

use std::{env, ffi::OsStr, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Chromium, sign_out};
use crate::site::Site;

/// Where pictures of the pages are kept, if they are wanted.
const FOLDER: &str = "WRISTBAND_SCREENSHOTS";

/// The narrowest screen that the pages are made for, in pixels (WCAG 2.2, 1.4.10), and a wide one.
const WIDTHS: [u32; 2] = [320, 1000];

/// Names of the pictures, and what is on them.
const PAGES: [(&str, &str); 4] =
    [("home", "/"), ("dashboard", "/dashboard"), ("devices", "/sessions"), ("live", "/live")];

#[tokio::test]
async fn no_page_is_wider_than_its_screen() {
    let browser = Chromium::start().await;
    let site = Site::on_redis().await;
    browser.open(&site.url("/")).await;
    fits(&browser, "the front page of a stranger", None).await;
    look_at(&browser, &site, "login", "/login").await;
    browser.log_in("bob", "wonderland").await;
    browser.shows("The name or the password is wrong.").await;
    fits(&browser, "the login that failed", None).await;
    browser.open(&site.url("/login")).await;
    browser.log_in("bob", "builder").await;
    browser.arrives_at("/dashboard").await;
    let phone = "Mozilla/5.0 (Android 16; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";
    let phone = site.log_in("bob", "builder", phone).await;
    for (name, path) in PAGES {
        look_at(&browser, &site, name, path).await;
    }
    browser.open(&site.url("/sessions")).await;
    browser.click("form[action='/sessions/revoke-others'] button").await;
    browser.shows("browser is signed out").await;
    fits(&browser, "the devices with a notice", None).await;
    assert!(!site.lets_in(&phone).await);
    sign_out(&browser).await;
}

async fn look_at(browser: &Chromium, site: &Site, name: &str, path: &str) {
    browser.open(&site.url(path)).await;
    if path == "/live" {
        browser.shows("Z\n").await;
    }
    fits(browser, name, env::var_os(FOLDER).as_deref()).await;
}

/// The page has nothing beyond the edge of the screen, wide or narrow.
async fn fits(browser: &Chromium, name: &str, folder: Option<&OsStr>) {
    for width in WIDTHS {
        let screen = json!({
            "width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        browser.command("Emulation.setDeviceMetricsOverride", screen).await;
        let beyond = browser.run(BEYOND).await;
        assert_eq!(beyond, json!([]), "{name} at {width}: these are beyond the edge");
        if let Some(folder) = folder {
            let picture = picture(browser).await;
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{name}-{width}.png")), picture).unwrap();
        }
    }
    browser.command("Emulation.clearDeviceMetricsOverride", json!({})).await;
}

/// The elements that reach beyond the edge, or whose text does.
const BEYOND: &str = "
    const edge = document.documentElement.clientWidth;
    return [...document.querySelectorAll('body *')]
        .filter((element) => element.getBoundingClientRect().right > edge + 0.5
            || element.scrollWidth > element.clientWidth + 1
                && getComputedStyle(element).display !== 'inline'
                && getComputedStyle(element).overflow === 'visible')
        .map((element) => element.outerHTML.slice(0, 200));
";

/// The whole page, as PNG.
async fn picture(browser: &Chromium) -> Vec<u8> {
    let layout = browser.command("Page.getLayoutMetrics", json!({})).await;
    let size = |side: &str| layout["cssContentSize"][side].clone();
    let clip = json!({
        "x": 0, "y": 0, "width": size("width"), "height": size("height"), "scale": 1,
    });
    let picture = json!({ "clip": clip, "captureBeyondViewport": true });
    let picture: Value = browser.command("Page.captureScreenshot", picture).await;
    BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
}
