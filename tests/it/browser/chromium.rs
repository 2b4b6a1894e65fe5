//! A browser with a profile of its own.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    By, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver, WebElement, WindowHandle,
    error::WebDriverResult,
};
use url::Url;

use crate::{
    program::Program,
    servers::{server, until},
};

/// The host name of another site, on this machine.
pub const ELSEWHERE: &str = "elsewhere.test";

/// What keeps Chromium from asking anybody but this machine, and from what takes a screen. Its sandbox doesn't
/// work for root. With the pipe, it ends when chromedriver does, however that came.
const ARGUMENTS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-pipe",
    "--window-size=1100,800",
];

/// A browser, which ends when this is dropped.
#[derive(Debug)]
pub struct Chromium {
    // Fields are dropped in this order.
    driver: WebDriver,
    _chromedriver: Program,
    _profile: TempDir,
}

impl Chromium {
    /// Starts one that has no cookies.
    pub async fn start() -> Self {
        let find = |line: &str| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        };
        let set_up = |command: &mut tokio::process::Command| {
            command.arg("--port=0");
        };
        let (chromedriver, port) = Program::start("chromedriver", set_up, find).await;
        // Where nothing is left, even of what it writes while it ends.
        let private = Path::new(&server("WRISTBAND_SERVERS")).join("private");
        let profile = TempDir::new_in(private).expect("a directory");
        let mut options = DesiredCapabilities::chrome();
        let directory = format!("--user-data-dir={}", profile.path().display());
        let hosts = format!(
            "--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE 127.0.0.1"
        );
        for argument in ARGUMENTS.into_iter().chain([directory.as_str(), hosts.as_str()]) {
            options.add_arg(argument).expect("text");
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), options).await;
        let driver = driver.expect("Chromium starts");
        // It is not asked to quit when the test is over, but killed.
        driver.clone().leak().expect("it runs");
        Self { driver, _chromedriver: chromedriver, _profile: profile }
    }

    /// Opens an address, and waits until the page is there.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.expect("a page");
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.expect("a page");
    }

    pub async fn back(&self) {
        self.driver.back().await.expect("a page");
    }

    /// Opens a tab, and goes on in it.
    pub async fn new_tab(&self) -> WindowHandle {
        let tab = self.driver.new_tab().await.expect("a tab");
        self.switch_to(&tab).await;
        tab
    }

    /// The tab that is in front.
    pub async fn tab(&self) -> WindowHandle {
        self.driver.window().await.expect("a tab")
    }

    pub async fn switch_to(&self, tab: &WindowHandle) {
        self.driver.switch_to_window(tab.clone()).await.expect("the tab");
    }

    /// Goes on in the only frame of the page.
    pub async fn enter_frame(&self) {
        self.driver.enter_frame(0).await.expect("a frame");
    }

    /// Where the tab is.
    pub async fn url(&self) -> Url {
        self.driver.current_url().await.expect("an address")
    }

    /// Waits until the tab has come to a page of the site. On the way there may be no page to ask.
    pub async fn arrives_at(&self, path: &str) {
        until(path, async || {
            let url = self.driver.current_url().await;
            let state = self.driver.execute("return document.readyState", vec![]).await;
            url.is_ok_and(|url| url.path() == path)
                && state.is_ok_and(|state| state.json() == "complete")
        })
        .await;
    }

    /// Waits until the frame that was entered has come to this path and query.
    pub async fn frame_arrives_at(&self, [path, query]: [&str; 2]) {
        let script = "return [document.readyState, location.pathname, location.search]";
        until(path, async || {
            let place = self.driver.execute(script, vec![]).await;
            place.is_ok_and(|place| *place.json() == json!(["complete", path, query]))
        })
        .await;
    }

    /// What the page shows.
    pub async fn text(&self) -> String {
        self.shown().await.expect("text")
    }

    async fn shown(&self) -> WebDriverResult<String> {
        self.driver.find(By::Css("body")).await?.text().await
    }

    /// Waits until the page shows this. A page that is about to leave can't be asked.
    pub async fn shows(&self, words: &str) {
        until(words, async || self.shown().await.is_ok_and(|text| text.contains(words))).await;
    }

    pub async fn find(&self, selector: &str) -> WebElement {
        let found = self.driver.find(By::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    pub async fn count(&self, selector: &str) -> usize {
        self.driver.find_all(By::Css(selector)).await.expect("elements").len()
    }

    pub async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.expect("a click");
    }

    /// Fills in the form of the login page, and sends it.
    pub async fn log_in(&self, user: &str, password: &str) {
        for (field, value) in [("#user", user), ("#password", password)] {
            self.find(field).await.send_keys(value).await.expect("a key");
        }
        self.click("form[action='/login'] button").await;
    }

    /// Sends the form behind “Log out”.
    pub async fn log_out(&self) {
        self.click("form[action='/logout'] button").await;
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        let value = self.driver.execute(script, vec![]).await;
        value.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// A command of the DevTools protocol.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        let answer = self.driver.cdp().send_raw(name, parameters).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The cookies that go to an address, as the browser keeps them.
    pub async fn cookies(&self, url: &str) -> Vec<Value> {
        let cookies = self.command("Network.getCookies", json!({ "urls": [url] })).await;
        cookies["cookies"].as_array().expect("a list").clone()
    }
}
