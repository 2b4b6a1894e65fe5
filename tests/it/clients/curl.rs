//! curl, with a jar for cookies.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::process::Command;

use super::output;

/// What all of a client's requests have in common.
pub struct Curl {
    url: String,
    version: String,
    certificate: PathBuf,
    directory: TempDir,
}

impl Curl {
    /// A client of what is at the address, by this version of HTTP, with an empty jar.
    pub fn new(url: &str, version: &str, certificate: &Path) -> Self {
        Self {
            url: url.to_owned(),
            version: version.to_owned(),
            certificate: certificate.to_owned(),
            directory: TempDir::new().unwrap(),
        }
    }

    /// Another client of the same, with an empty jar.
    pub fn anew(&self) -> Self {
        Self::new(&self.url, &self.version, &self.certificate)
    }

    /// A request for a path, with further options.
    pub fn request(&self, arguments: &[&str]) -> Command {
        let [path, options @ ..] = arguments else { panic!("a path") };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]);
        curl.arg(&self.version).arg("--cacert");
        curl.arg(&self.certificate).arg("--cookie").arg(self.jar()).arg("--cookie-jar");
        curl.arg(self.jar()).arg(format!("{}{path}", self.url)).args(options);
        curl
    }

    /// The status, and the body.
    pub async fn answer(&self, arguments: &[&str]) -> (u16, String) {
        let mut request = self.request(arguments);
        let answer = output(request.args(["--write-out", "\n%{http_version} %{http_code}"])).await;
        let (body, line) = answer.rsplit_once('\n').unwrap();
        let (version, status) = line.split_once(' ').unwrap();
        assert_eq!(version == "2", self.version.starts_with("--http2"), "HTTP/{version}");
        (status.parse().unwrap(), body.to_owned())
    }

    fn jar(&self) -> PathBuf {
        self.directory.path().join("jar")
    }

    /// The only cookie of the jar, as in a line of `Cookie`.
    pub fn cookie(&self) -> String {
        let jar = fs::read_to_string(self.jar()).unwrap();
        let fields: Vec<_> = jar.lines().last().unwrap().split('\t').collect();
        let [domain, subdomains, path, secure, _, name, value] = fields.try_into().unwrap();
        let kept = (domain, subdomains, path, secure);
        assert_eq!(kept, ("#HttpOnly_127.0.0.1", "FALSE", "/", "TRUE"));
        format!("{name}={value}")
    }
}
