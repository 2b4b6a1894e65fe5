//! How a layer is configured.

use std::time::Duration;

use arbitrary::Arbitrary;
use tower_wristband::{Lifetime, SessionCookie, cookie::SameSite};

const NAME: &[u8] =
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What stays as it is in an address.
const PATH: &[u8] =
    b"!$&'()*+,-:=@_~/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DOMAIN: &[u8] = b".-_0123456789abcdefghijklmnopqrstuvwxyz";

/// Most of them go together.
#[derive(Arbitrary, Debug)]
pub(super) struct Options<'a> {
    prefix: Prefix,
    name: &'a [u8],
    path: &'a [u8],
    domain: Option<&'a [u8]>,
    is_insecure: bool,
    same_site: Sites,
    is_partitioned: bool,
    idle: u16,
    more: u32,
    touch: Option<u16>,
    ends_with_browser: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Prefix {
    None,
    Host,
    Secure,
    Http,
    HostHttp,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Sites {
    Strict,
    Lax,
    None,
}

/// A text of these characters.
fn text(bytes: &[u8], characters: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(characters[usize::from(*byte) % characters.len()])).collect()
}

impl Options<'_> {
    pub(super) fn cookie(&self) -> SessionCookie {
        let mut cookie =
            SessionCookie::new(self.name()).with_path(self.path()).with_same_site(self.same_site());
        if let Some(domain) = self.domain() {
            cookie = cookie.with_domain(domain);
        }
        if !self.is_secure() {
            cookie = cookie.insecure_without_secure();
        }
        if self.is_partitioned {
            cookie = cookie.with_partitioned();
        }
        cookie
    }

    pub(super) fn lifetime(&self) -> Lifetime {
        const LONGEST: u64 = 400 * 24 * 60 * 60;
        let idle = 1 + u64::from(self.idle);
        let absolute = (idle + u64::from(self.more)).min(LONGEST);
        let mut lifetime = Lifetime::new(Duration::from_secs(idle), Duration::from_secs(absolute));
        if let Some(touch) = self.touch {
            lifetime = lifetime.with_touch_interval(Duration::from_secs(u64::from(touch) % idle));
        }
        if self.ends_with_browser { lifetime.until_browser_closes() } else { lifetime }
    }

    fn name(&self) -> String {
        let prefix = match self.prefix {
            Prefix::None => "",
            Prefix::Host => "__Host-",
            Prefix::Secure => "__Secure-",
            Prefix::Http => "__Http-",
            Prefix::HostHttp => "__Host-Http-",
        };
        format!("{prefix}s{}", text(self.name, NAME))
    }

    fn is_host_only(&self) -> bool {
        matches!(self.prefix, Prefix::Host | Prefix::HostHttp)
    }

    pub(super) fn path(&self) -> String {
        if self.is_host_only() { "/".into() } else { format!("/{}", text(self.path, PATH)) }
    }

    pub(super) fn domain(&self) -> Option<String> {
        let domain = self.domain.filter(|_| !self.is_host_only());
        domain.map(|bytes| format!("{}club.example", text(bytes, DOMAIN)))
    }

    pub(super) fn is_secure(&self) -> bool {
        let is_plain = matches!(self.prefix, Prefix::None) && !self.is_partitioned;
        !(self.is_insecure && is_plain && !matches!(self.same_site, Sites::None))
    }

    pub(super) fn same_site(&self) -> SameSite {
        match self.same_site {
            Sites::Strict => SameSite::Strict,
            Sites::Lax => SameSite::Lax,
            Sites::None => SameSite::None,
        }
    }

    pub(super) fn is_partitioned(&self) -> bool {
        self.is_partitioned
    }
}
