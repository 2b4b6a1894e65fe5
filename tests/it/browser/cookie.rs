//! The session's cookie, as a browser keeps it.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};
use tower_wristband::testing::cookie_from;

use super::{Chromium, sign_in, sign_out, sites};
use crate::site::Site;

const NAME: &str = "__Host-session";

const HOUR: f64 = 60.0 * 60.0;

/// The only cookie of the site.
async fn cookie(browser: &Chromium, site: &Site) -> Value {
    let cookies: [Value; 1] = browser.cookies(&site.url("/")).await.try_into().unwrap();
    let [cookie] = cookies;
    assert_eq!(cookie["name"], NAME);
    cookie
}

/// As in a line of `Cookie`.
fn pair(cookie: &Value) -> String {
    format!("{NAME}={}", cookie["value"].as_str().unwrap())
}

/// When the cookie ends, in hours from now.
fn hours_left(cookie: &Value) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    (cookie["expires"].as_f64().unwrap() - now) / HOUR
}

#[tokio::test]
async fn the_cookie_is_kept_with_every_protection_and_scripts_see_nothing_of_it() {
    let browser = Chromium::start().await;
    for site in sites().await {
        sign_in(&browser, &site).await;
        let kept = cookie(&browser, &site).await;
        for (attribute, value) in [
            ("httpOnly", json!(true)),
            ("secure", json!(true)),
            ("sameSite", json!("Lax")),
            ("path", json!("/")),
            // Without a dot in front: this host alone.
            ("domain", json!("127.0.0.1")),
            ("session", json!(false)),
        ] {
            assert_eq!(kept[attribute], value, "{attribute}");
        }
        // The absolute lifetime; the tick for 30 days is not set.
        let left = hours_left(&kept);
        assert!((23.9..=24.0).contains(&left), "{left} hours");

        assert_eq!(browser.run("return document.cookie").await, "");
        assert_eq!(browser.run("return (await cookieStore.getAll()).length").await, 0);
        assert_eq!(browser.run(ASK_WHO).await, "alice");
        // Nor does a script replace it.
        let write = format!("document.cookie = '{NAME}=x; path=/; secure'; return document.cookie");
        assert_eq!(browser.run(&write).await, "");
        assert_eq!(cookie(&browser, &site).await["value"], kept["value"]);
        assert_eq!(browser.run(ASK_WHO).await, "alice");

        // Ticked, it is thirty days, and the token of before is worthless.
        browser.open(&site.url("/login")).await;
        browser.click("input[name='remember']").await;
        browser.log_in("alice", "wonderland").await;
        browser.arrives_at("/dashboard").await;
        let remembered = cookie(&browser, &site).await;
        let left = hours_left(&remembered);
        assert!((30.0 * 24.0 - 0.1..=30.0 * 24.0).contains(&left), "{left} hours");
        assert!(site.lets_in(&pair(&remembered)).await);
        assert!(!site.lets_in(&pair(&kept)).await);

        sign_out(&browser).await;
        assert_eq!(browser.cookies(&site.url("/")).await, [] as [Value; 0]);
        assert!(!site.lets_in(&pair(&remembered)).await, "a copy of it is worthless as well");
    }
}

/// A script's request, which has the cookie.
const ASK_WHO: &str = "return (await (await fetch('/me')).json()).user";

#[tokio::test]
async fn a_cookie_that_somebody_planted_before_the_login_does_not_survive_it() {
    let browser = Chromium::start().await;
    for site in sites().await {
        // A session of the attacker's own, with which the victim browses on.
        let planted = site.ask(Method::POST, "/remember-me-here", None).await;
        let planted = cookie_from(&planted).unwrap().to_str().unwrap().to_owned();
        let value = planted.split_once('=').unwrap().1;
        let plant = json!({
            "name": NAME, "value": value, "url": site.url("/"), "path": "/", "secure": true,
        });
        browser.command("Network.setCookie", plant).await;
        browser.open(&site.url("/")).await;
        browser.shows("Page views since you asked to be remembered: 1").await;
        assert_eq!(pair(&cookie(&browser, &site).await), planted, "it is taken for the visitor's");

        sign_in(&browser, &site).await;
        let own = pair(&cookie(&browser, &site).await);
        assert_ne!(own, planted);
        assert!(site.lets_in(&own).await);
        assert!(!site.lets_in(&planted).await);
        sign_out(&browser).await;
    }
}
