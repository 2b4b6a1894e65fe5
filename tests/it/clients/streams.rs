//! Events through nginx, while they happen.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::{curl::Curl, nginx::Nginx};
use crate::site::Site;

#[tokio::test]
async fn an_open_stream_behind_nginx_shows_each_event_at_once_and_ends_with_its_session() {
    let site = Site::on_redis().await;
    let nginx = Nginx::before(site.address()).await;
    for version in ["--http1.1", "--http2"] {
        let curl = Curl::new(&nginx.url(), version, &nginx.certificate());
        let log_in = ["/login", "--data", "user=alice&password=wonderland"];
        assert_eq!(curl.answer(&log_in).await.0, 303);
        let mut stream = curl.request(&["/live", "--no-buffer", "-H", "accept: text/event-stream"]);
        let mut stream = stream.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(stream.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().unwrap().starts_with("data: 2"));

        assert_eq!(curl.answer(&["/logout", "--data", ""]).await.0, 303);
        let mut rest = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            rest.push(line);
        }
        let farewell = ["event: signed-out", "data: signed out", ""];
        assert_eq!(rest[rest.len() - 3..], farewell, "{version}");
        assert!(stream.wait().await.unwrap().success());
    }
}
