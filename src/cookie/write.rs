//! The writer of `Set-Cookie`.

use std::time::Duration;

use http::HeaderValue;
use smol_str::{SmolStr, format_smolstr};

use super::SessionCookie;
use crate::{error::ConfigError, lifetime::LONGEST_COOKIE_LIFE, token::SessionToken};

/// Both: `Max-Age` takes precedence where it is known, but zero was long outside its grammar.
const EXPIRED: &str = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

/// Writes the `Set-Cookie` headers of a [`SessionCookie`].
#[derive(Debug)]
pub(crate) struct CookieWriter {
    name: String,
    /// From the `;` behind the value on.
    attributes: String,
}

impl CookieWriter {
    /// # Errors
    ///
    /// A [`ConfigError`] if a browser would ignore the cookie.
    pub(crate) fn new(cookie: &SessionCookie) -> Result<Self, ConfigError> {
        cookie.validate()?;
        Ok(Self { name: cookie.name.clone(), attributes: format!("; {}", cookie.attributes()) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The header that gives the browser this token, until it is closed or for `max_age`.
    pub(crate) fn set(&self, token: &SessionToken, max_age: Option<Duration>) -> HeaderValue {
        let expiry = max_age
            .map_or(SmolStr::default(), |age| format_smolstr!("; Max-Age={}", whole_seconds(age)));
        self.header(&*token.to_wire(), &expiry)
    }

    /// The header that makes the browser forget the cookie. It repeats every attribute, for else
    /// the browser takes it for another cookie, or ignores it (RFC 6265bis, section 5.7).
    pub(crate) fn removal(&self) -> HeaderValue {
        self.header(b"", EXPIRED)
    }

    fn header(&self, value: &[u8], expiry: &str) -> HeaderValue {
        let Self { name, attributes } = self;
        // `concat` allocates exactly once, and the header takes the buffer over.
        let line =
            [name.as_bytes(), b"=", value, attributes.as_bytes(), expiry.as_bytes()].concat();
        let mut header = HeaderValue::try_from(line).expect("a valid cookie is visible ASCII");
        header.set_sensitive(true);
        header
    }
}

/// Rounded up: the browser doesn't forget the cookie before the server ends the session.
fn whole_seconds(age: Duration) -> u64 {
    let age = age.min(LONGEST_COOKIE_LIFE);
    age.as_secs() + u64::from(age.subsec_nanos() > 0)
}
