//! A browser with one cookie.

use cookie::{Cookie, SameSite, time};
use cookie_store::CookieStore;
use url::Url;

use super::options::Options;

pub(super) struct Browser {
    jar: CookieStore,
    /// Where the site is.
    url: Url,
    /// Other addresses, and whether they get the cookie.
    others: Vec<(Url, bool)>,
}

impl Browser {
    /// `None` if the site can't be at this host.
    pub(super) fn new(options: &Options<'_>) -> Option<Self> {
        let (path, domain) = (options.path(), options.domain());
        let is_shared = domain.is_some();
        let parent = domain.unwrap_or_else(|| "example".into());
        let host = format!("club.{parent}");
        let scheme = if options.is_secure() { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{host}{path}")).ok()?;
        let is_folder = path.ends_with('/');
        let slash = if is_folder { "" } else { "/" };
        let others = [
            (format!("https://{host}{path}?query=1"), true),
            (format!("https://{host}{path}{slash}page"), true),
            (format!("https://{host}{path}page"), is_folder),
            (format!("https://{host}/"), path == "/"),
            (format!("http://{host}{path}"), !options.is_secure()),
            (format!("https://below.{host}{path}"), is_shared),
            (format!("https://{parent}{path}"), is_shared),
            (format!("https://beside.{parent}{path}"), is_shared),
            (format!("https://not{parent}{path}"), false),
            (format!("https://{host}.test{path}"), false),
        ];
        let others = others.map(|(other, gets_it)| Some((Url::parse(&other).ok()?, gets_it)));
        let others = others.into_iter().collect::<Option<_>>()?;
        Some(Self { jar: CookieStore::default(), url, others })
    }

    /// What it sends to the site.
    pub(super) fn cookie(&self) -> Option<String> {
        self.sent_to(&self.url)
    }

    fn sent_to(&self, url: &Url) -> Option<String> {
        let mut sent = self.jar.get_request_values(url);
        let (name, value) = sent.next()?;
        assert!(sent.next().is_none(), "one cookie");
        Some(format!("{name}={value}"))
    }

    /// Takes a cookie from the site, and gives it back where it belongs.
    pub(super) fn keep(&mut self, line: &str) {
        self.jar.parse(line, &self.url).expect("a browser keeps it");
        let pair = line.split(';').next();
        assert_eq!(self.cookie().as_deref(), pair);
        for (other, gets_it) in &self.others {
            assert_eq!(self.sent_to(other).as_deref(), pair.filter(|_| *gets_it), "{other}");
        }
    }

    /// Takes from the site that the cookie is over.
    pub(super) fn forget(&mut self, line: &str) {
        // It says so of one that it doesn't have, too.
        let _ = self.jar.parse(line, &self.url);
        assert_eq!(self.jar.iter_unexpired().count(), 0, "{line}");
        assert_eq!(self.cookie(), None);
    }
}

/// What browsers demand of a cookie (RFC 6265bis, sections 5.4 to 5.7).
pub(crate) fn assert_browsers_keep(cookie: &Cookie<'_>) {
    let name = cookie.name().to_ascii_lowercase();
    let is_secure = cookie.secure() == Some(true);
    let attributes = [cookie.path(), cookie.domain()];
    assert!(name.len() + cookie.value().len() <= 4096);
    assert!(attributes.iter().flatten().all(|value| value.len() <= 1024));
    assert!(cookie.max_age().is_none_or(|age| age <= time::Duration::days(400)));
    if name.starts_with("__") {
        let is_of_host = name.starts_with("__host-");
        let is_prefixed = ["__secure-", "__http-"].iter().any(|prefix| name.starts_with(prefix));
        assert!(is_secure || !(is_of_host || is_prefixed));
        assert!(!is_of_host || attributes == [Some("/"), None]);
    }
    let needs_secure = cookie.same_site() == Some(SameSite::None) || cookie.partitioned().is_some();
    assert!(is_secure || !needs_secure);
}
