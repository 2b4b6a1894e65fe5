//! A login, a reload, a logout and a copy of the cookie, by clients that keep the cookie by themselves.

use tokio::process::Command;

use super::{beside, curl::Curl, nginx::Nginx, output};
use crate::site::Site;

/// What each client writes: a line for each answer.
const STORY: &str = "\
a stranger asks who it is: 401
logs in: 303
asks who it is: 200 alice
counts: 200 1
asks for the count: 200 1
asks with a copy of the cookie: 200
logs out: 303
asks who it is: 401
asks with a copy of the cookie: 401
";

/// The site over Redis, and nginx in front of it.
async fn behind_nginx() -> (Site, Nginx) {
    let site = Site::on_redis().await;
    let nginx = Nginx::before(site.address()).await;
    (site, nginx)
}

#[tokio::test]
async fn curl_passes_with_its_jar_in_each_version_of_http() {
    let (site, nginx) = behind_nginx().await;
    let certificate = nginx.certificate();
    for (url, version) in [
        (site.url(""), "--http1.1"),
        (site.url(""), "--http2-prior-knowledge"),
        (nginx.url(), "--http1.1"),
        (nginx.url(), "--http2"),
    ] {
        let curl = Curl::new(&url, version, &certificate);
        assert_eq!(told_by(&curl).await, STORY, "{url} {version}");
    }
}

async fn told_by(curl: &Curl) -> String {
    let user = |answer: &str| answer.split('"').nth(3).unwrap_or_default().to_owned();
    let mut told = String::new();
    let mut tell = |what: &str, (status, answer): (u16, String)| {
        told += format!("{what}: {status} {answer}").trim_end();
        told += "\n";
    };
    let nothing = |(status, _)| (status, String::new());
    let ask = ["/me"];
    tell("a stranger asks who it is", nothing(curl.answer(&ask).await));
    let log_in = ["/login", "--data", "user=alice&password=wonderland"];
    tell("logs in", nothing(curl.answer(&log_in).await));
    let cookie = curl.cookie();
    let (status, answer) = curl.answer(&ask).await;
    tell("asks who it is", (status, user(&answer)));
    tell("counts", curl.answer(&["/count", "--data", ""]).await);
    tell("asks for the count", curl.answer(&["/count"]).await);
    let copy = ["/me", "--cookie", &cookie];
    tell("asks with a copy of the cookie", nothing(curl.anew().answer(&copy).await));
    tell("logs out", nothing(curl.answer(&["/logout", "--data", ""]).await));
    tell("asks who it is", nothing(curl.answer(&ask).await));
    tell("asks with a copy of the cookie", nothing(curl.anew().answer(&copy).await));
    told
}

#[tokio::test]
async fn pythons_requests_pass() {
    let (_site, nginx) = behind_nginx().await;
    let mut python = Command::new("/usr/bin/python3");
    python.arg(beside("client.py")).arg(nginx.url()).arg(nginx.certificate());
    assert_eq!(output(&mut python).await, STORY);
}

#[tokio::test]
async fn a_client_in_go_passes_over_http_2() {
    let (_site, nginx) = behind_nginx().await;
    let mut go = Command::new("go");
    go.args(["run", &beside("client.go"), &nginx.url()]).arg(nginx.certificate());
    // It takes the standard library alone.
    go.env("GO111MODULE", "off").env("GOFLAGS", "");
    assert_eq!(output(&mut go).await, STORY);
}

/// A client may send each cookie in a field of its own (RFC 9113, section 8.2.3).
#[tokio::test]
async fn cookies_in_fields_of_their_own_are_as_good_as_one_line() {
    let (site, nginx) = behind_nginx().await;
    let cookie = site.log_in("alice", "wonderland", "curl").await;
    let ours = format!("cookie: {cookie}");
    let split = ["/me", "-H", "cookie: a=1", "-H", &ours, "-H", "cookie: b=2"];
    let without = ["/me", "-H", "cookie: a=1", "-H", "cookie: b=2"];
    for (url, version) in [(site.url(""), "--http2-prior-knowledge"), (nginx.url(), "--http2")] {
        let curl = Curl::new(&url, version, &nginx.certificate());
        assert_eq!(curl.answer(&split).await.0, 200, "{url}");
        assert_eq!(curl.answer(&without).await.0, 401, "{url}");
    }
}
