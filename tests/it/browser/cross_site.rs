//! What other sites can make a browser send.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, Uri, header::COOKIE},
    response::Html,
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::{Chromium, chromium::ELSEWHERE, sign_in, sign_out, sites};

/// Whether a request brought the session's cookie.
type Seen = (Method, bool);

/// A server at another port of this machine. By its address it is a neighbour of the demo site, whose cookies
/// it gets, for those know no ports. By the name [`ELSEWHERE`] it is another site, with a page of its own.
struct Neighbour {
    port: u16,
    seen: UnboundedReceiver<Seen>,
}

impl Neighbour {
    /// Starts one, with this page at [`ELSEWHERE`]; `TARGET` in it is the neighbour.
    async fn start(page: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, seen) = unbounded_channel();
        let page = Arc::new(page.replace("TARGET", &format!("http://127.0.0.1:{port}/")));
        let router = Router::new().fallback(answer).with_state((page, sender));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { port, seen }
    }

    /// The page of the other site.
    fn page(&self) -> String {
        format!("http://{ELSEWHERE}:{}/page", self.port)
    }

    /// The next request that came there.
    async fn next(&mut self) -> Option<Seen> {
        timeout(Duration::from_secs(60), self.seen.recv()).await.expect("a request")
    }

    /// The address that gets the cookies of the demo site.
    fn target(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

async fn answer(
    State((page, seen)): State<(Arc<String>, UnboundedSender<Seen>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Html<String> {
    match uri.path() {
        "/page" => return Html(page.as_str().to_owned()),
        "/" => {
            let mut lines = headers.get_all(COOKIE).iter().flat_map(|line| line.to_str());
            seen.send((method, lines.any(|line| line.contains("__Host-session=")))).unwrap();
        }
        // What browsers ask for by themselves.
        _ => {}
    }
    Html("seen".to_owned())
}

#[tokio::test]
async fn another_site_can_neither_post_nor_embed_nor_fetch_with_the_session() {
    let browser = Chromium::start().await;
    for site in sites().await {
        sign_in(&browser, &site).await;
        let page = format!(
            "<form method=post action='TARGET'><button id=post>post</button></form>
             <form method=post action='{}'><button id=logout>log out</button></form>
             <a id=link href='TARGET'>link</a>",
            site.url("/logout"),
        );
        let mut neighbour = Neighbour::start(&page).await;
        let other_site = neighbour.page();

        // The browser sends the cookie there, if it is led by nobody else or by a link: its form is another
        // matter.
        browser.open(&neighbour.target()).await;
        assert_eq!(neighbour.next().await, Some((Method::GET, true)));
        browser.open(&other_site).await;
        browser.click("#link").await;
        assert_eq!(neighbour.next().await, Some((Method::GET, true)));
        browser.open(&other_site).await;
        browser.click("#post").await;
        assert_eq!(neighbour.next().await, Some((Method::POST, false)));

        // A script's request, and what is embedded.
        browser.open(&other_site).await;
        for (what, method) in [
            (
                "fetch(URL, { method: 'POST', mode: 'no-cors', credentials: 'include' })",
                Method::POST,
            ),
            ("document.body.append(Object.assign(new Image(), { src: URL }))", Method::GET),
            (
                "document.body.append(Object.assign(document.createElement('iframe'), { src: URL }))",
                Method::GET,
            ),
        ] {
            browser.run(&what.replace("URL", &format!("'{}'", neighbour.target()))).await;
            assert_eq!(neighbour.next().await, Some((method, false)), "{what}");
        }

        // The demo site itself takes no form from there, and the session lives.
        browser.open(&other_site).await;
        browser.click("#logout").await;
        browser.arrives_at("/logout").await;
        browser.open(&site.url("/dashboard")).await;
        browser.arrives_at("/dashboard").await;
        sign_out(&browser).await;
    }
}

#[tokio::test]
async fn in_a_frame_of_another_site_the_visitor_is_a_stranger() {
    let browser = Chromium::start().await;
    for site in sites().await {
        sign_in(&browser, &site).await;
        let url = site.url("/dashboard");
        let neighbour = Neighbour::start(&format!("<iframe src='{url}'></iframe>")).await;
        // In a frame of its own host, the dashboard is there.
        for (page, expected) in [
            (format!("http://127.0.0.1:{}/page", neighbour.port), "/dashboard"),
            (neighbour.page(), "/login"),
        ] {
            browser.open(&page).await;
            browser.enter_frame().await;
            let path = browser.run("return location.pathname").await;
            assert_eq!(path, expected, "{page}");
        }
        browser.open(&url).await;
        sign_out(&browser).await;
    }
}

#[tokio::test]
async fn a_login_in_a_frame_of_another_site_leaves_no_cookie() {
    let browser = Chromium::start().await;
    for site in sites().await {
        let page = format!("<iframe src='{}'></iframe>", site.url("/login"));
        let neighbour = Neighbour::start(&page).await;
        // In a frame of its own host the login counts; elsewhere the browser drops the cookie, and the
        // page behind the login asks for another.
        for (page, expected) in [
            (neighbour.page(), ["/login", "?next=/dashboard"]),
            (format!("http://127.0.0.1:{}/page", neighbour.port), ["/dashboard", ""]),
        ] {
            browser.open(&page).await;
            browser.enter_frame().await;
            browser.log_in("alice", "wonderland").await;
            browser.frame_arrives_at(expected).await;
            let cookies = browser.cookies(&site.url("/")).await;
            assert_eq!(cookies.is_empty(), expected[0] == "/login", "{page}");
        }
        browser.open(&site.url("/dashboard")).await;
        sign_out(&browser).await;
    }
}

#[tokio::test]
async fn a_login_leads_to_no_other_site() {
    let browser = Chromium::start().await;
    let elsewhere = Neighbour::start("elsewhere").await;
    let host = format!("{ELSEWHERE}:{}", elsewhere.port);
    for site in sites().await {
        for (next, expected) in [
            ("/sessions", "/sessions"),
            (&*format!("http://{host}/page"), "/dashboard"),
            (&*format!("//{host}/page"), "/dashboard"),
            (&*format!("/\\{host}/page"), "/dashboard"),
            (&*format!("/%09/{host}/page"), "/dashboard"),
        ] {
            browser.open(&site.url(&format!("/login?next={next}"))).await;
            browser.log_in("alice", "wonderland").await;
            browser.arrives_at(expected).await;
            assert_eq!(browser.url().await.as_str(), site.url(expected), "{next}");
        }
        sign_out(&browser).await;
    }
}
