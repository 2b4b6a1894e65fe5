//! The session cookie: its name and attributes.
//!
//! The default is the safest cookie there is, `__Host-session`: sent over https only, to the host
//! that set it only, out of reach of scripts, and not sent by the requests of other sites except
//! when somebody follows a link.
//!
//! ```
//! use tower_wristband::cookie::{SameSite, SessionCookie};
//!
//! let cookie = SessionCookie::default();
//! assert_eq!(cookie.name(), "__Host-session");
//! assert_eq!(cookie.attributes(), "Path=/; Secure; HttpOnly; SameSite=Lax");
//!
//! // Shared by the subdomains of a site: `__Host-` would forbid the Domain.
//! let shared = SessionCookie::new("__Secure-session")
//!     .with_domain("example.com")
//!     .with_same_site(SameSite::Strict);
//! assert_eq!(
//!     shared.attributes(),
//!     "Path=/; Domain=example.com; Secure; HttpOnly; SameSite=Strict",
//! );
//! ```

mod find;
#[cfg(test)]
mod tests;
mod write;

use std::fmt::{self, Write as _};

use crate::{
    error::{ConfigError, ConfigErrorKind},
    token::SessionToken,
};

pub(crate) use find::{Presented, find};
pub(crate) use write::CookieWriter;

/// Browsers ignore a cookie whose name and value are longer than this together, in octets (RFC
/// 6265bis, section 5.6).
const MAX_NAME_AND_VALUE: usize = 4096;

/// Browsers ignore an attribute whose value is longer than this, in octets (RFC 6265bis, section
/// 5.6).
const MAX_ATTRIBUTE: usize = 1024;

/// The longest host name and the longest part of one between dots (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// The session cookie's name and attributes.
///
/// The layer's builder refuses a cookie that a browser would ignore. `HttpOnly` can't be turned
/// off; when the cookie expires follows from the [`Lifetime`](crate::Lifetime).
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionCookie {
    name: String,
    path: String,
    domain: Option<String>,
    secure: bool,
    same_site: SameSite,
    partitioned: bool,
}

/// Which requests of other sites bring the cookie along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SameSite {
    /// None: who follows a link from another site arrives without a session.
    Strict,
    /// Only those by which a page is opened, such as following a link.
    Lax,
    /// All of them: the application needs another protection against cross-site request forgery.
    None,
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        })
    }
}

impl Default for SessionCookie {
    /// `__Host-session`, with `Path=/; Secure; HttpOnly; SameSite=Lax`.
    fn default() -> Self {
        Self::new("__Host-session")
    }
}

impl SessionCookie {
    /// A cookie of this name, with `Path=/; Secure; HttpOnly; SameSite=Lax`.
    ///
    /// The name is the one on the wire, prefix included. With the prefix `__Host-` no other host
    /// can set the cookie, not even a sibling below the same domain; with `__Secure-` none that
    /// speaks plain http. `__Http-` and `__Host-Http-` also keep scripts from setting it, in the
    /// browsers that know them.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: "/".into(),
            domain: None,
            secure: true,
            same_site: SameSite::Lax,
            partitioned: false,
        }
    }

    /// Which requests of other sites bring the cookie along. Defaults to [`SameSite::Lax`].
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// The path below which the browser sends the cookie. Defaults to `/`, and a `__Host-` cookie
    /// can have no other.
    ///
    /// The routes that log in and out have to be below it. A cookie of `/shop` is sent to `/shop`,
    /// `/shop/` and `/shop/cart`, not to `/shopping`; one of `/shop/` is not sent to `/shop` (RFC
    /// 6265bis, section 5.1.4).
    ///
    /// A path doesn't protect the cookie from the rest of the host (RFC 6265bis, section 8.6).
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Shares the cookie with this host and all below it. By default only the host that set it
    /// gets it.
    ///
    /// # Security
    ///
    /// Every host below the domain can then read the cookie and replace it.
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Keeps one cookie for each site that embeds this one in a frame (`Partitioned`).
    ///
    /// A frame inside another site needs [`SameSite::None`] as well.
    pub fn with_partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Lets the browser send the cookie over plain http, for development only.
    ///
    /// Most browsers accept `Secure` from `http://localhost`; this is for those that don't, and for
    /// other hosts without https.
    ///
    /// # Security
    ///
    /// Whoever can listen on the network gets the session.
    pub fn insecure_without_secure(mut self) -> Self {
        self.secure = false;
        self
    }

    /// The name, as it is on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The attributes as they are sent, but for those that say when the cookie expires.
    #[must_use]
    pub fn attributes(&self) -> String {
        let mut attributes = format!("Path={}", self.path);
        if let Some(domain) = &self.domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if self.secure {
            attributes.push_str("; Secure");
        }
        // Writing to a string can't fail.
        let _ = write!(attributes, "; HttpOnly; SameSite={}", self.same_site);
        if self.partitioned {
            attributes.push_str("; Partitioned");
        }
        attributes
    }

    /// Refuses what a browser would ignore.
    fn validate(&self) -> Result<(), ConfigError> {
        self.validate_name()?;
        self.validate_path()?;
        if let Some(domain) = &self.domain {
            validate_domain(domain)?;
        }
        self.validate_prefix()?;
        self.validate_attributes()
    }

    /// RFC 6265bis, section 4.1.1.
    fn validate_name(&self) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError::new(ConfigErrorKind::CookieName, message));
        let longest = MAX_NAME_AND_VALUE - SessionToken::WIRE_LENGTH;
        if self.name.is_empty() {
            return refuse(
                "the cookie's name is empty: give it one, such as `__Host-session`".into(),
            );
        }
        if self.name.len() > longest {
            return refuse(format!("the cookie's name is longer than {longest} bytes: shorten it"));
        }
        if !self.name.bytes().all(is_token_byte) {
            return refuse(format!(
                "the cookie's name {:?} can't be sent: use ASCII letters, digits, `-` and `_`",
                self.name
            ));
        }
        Ok(())
    }

    /// RFC 6265bis, sections 4.1.1 and 5.6.
    fn validate_path(&self) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError::new(ConfigErrorKind::CookiePath, message));
        if self.path.len() > MAX_ATTRIBUTE {
            return refuse(format!(
                "the cookie's path is longer than {MAX_ATTRIBUTE} bytes: shorten it"
            ));
        }
        if !self.path.starts_with('/') {
            return refuse(format!("the cookie's path {:?} must start with `/`", self.path));
        }
        if !self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            return refuse(format!(
                "the cookie's path {:?} can't be sent: write spaces, `;`, control characters and \
                 all that is not ASCII percent-encoded, as the browser does in a URL",
                self.path
            ));
        }
        Ok(())
    }

    /// RFC 6265bis, section 5.4: browsers compare the prefix without regard to case. `HttpOnly`,
    /// which `__Http-` and `__Host-Http-` also demand, is always there.
    fn validate_prefix(&self) -> Result<(), ConfigError> {
        let has = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        // `__Host-` covers `__Host-Http-`.
        let host_only = has("__Host-");
        let advice = if !self.secure && (host_only || has("__Secure-") || has("__Http-")) {
            "without `Secure`: give it a name without a prefix, such as `session`"
        } else if host_only && self.path != "/" {
            "with another path than `/`: let its prefix be `__Secure-`"
        } else if host_only && self.domain.is_some() {
            "with a `Domain`: let its prefix be `__Secure-`"
        } else {
            return Ok(());
        };
        Err(ConfigError::new(
            ConfigErrorKind::CookieName,
            format!("browsers ignore a cookie named `{}` {advice}", self.name),
        ))
    }

    /// RFC 6265bis, section 5.7, and CHIPS.
    fn validate_attributes(&self) -> Result<(), ConfigError> {
        let attribute = match self {
            Self { secure: true, .. } => return Ok(()),
            Self { same_site: SameSite::None, .. } => "SameSite=None",
            Self { partitioned: true, .. } => "Partitioned",
            _ => return Ok(()),
        };
        Err(ConfigError::new(
            ConfigErrorKind::CookieAttributes,
            format!(
                "browsers ignore a cookie with `{attribute}` but without `Secure`: keep `Secure`"
            ),
        ))
    }
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 6265bis, section 4.1.2.3. Underscores are in use, so they pass.
fn validate_domain(domain: &str) -> Result<(), ConfigError> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let advice = if domain.len() > MAX_HOST {
        return Err(ConfigError::new(
            ConfigErrorKind::CookieDomain,
            format!("the cookie's domain is longer than {MAX_HOST} bytes: shorten it"),
        ));
    } else if domain.starts_with('.') {
        "leave the dot at its start away"
    } else if !domain.is_ascii() {
        "write it as the browser does, with `xn--`"
    } else if !domain.split('.').all(is_label) {
        "it must be a host name such as `example.com`, without a scheme, port or path"
    } else if ends_in_a_number(domain) {
        "an IP address has no subdomains to share a cookie with: leave the domain away"
    } else {
        return Ok(());
    };
    Err(ConfigError::new(
        ConfigErrorKind::CookieDomain,
        format!("the cookie's domain {domain:?} can't be used: {advice}"),
    ))
}

/// Whether a browser takes the host for an IPv4 address (URL Standard, "ends in a number").
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
