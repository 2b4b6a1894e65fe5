//! The layer and its builder: what an application sees first.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Uri};
use tower_layer::Layer;

use crate::{
    admission::{Access, AccessRule},
    clock::{Clock, SystemClock, Timestamp},
    config::Config,
    cookie::{CookieWriter, SessionCookie},
    error::{ConfigError, ConfigErrorKind},
    lifetime::Lifetime,
    mount::Mount,
    rejection::DefaultRejection,
    service::SessionService,
    sessions::Sessions,
    store::SessionStore,
    token::RandomSource,
    watch::Watch,
};

/// Puts a [`Session`](crate::Session) into each request's extensions, or answers 401.
///
/// One configuration, many mounts: [`new`](Self::new) or [`builder`](Self::builder) makes the
/// configuration, and the methods that follow derive mounts that share it. Nested mounts of one
/// configuration cost one look-up and one commit in all. A layer demands a signed-in user unless it
/// is told otherwise: forgetting to configure it fails closed.
///
/// ```
/// use tower_wristband::{Lifetime, MemoryStore, SessionCookie, SessionLayer};
///
/// let sessions = SessionLayer::builder(MemoryStore::new())
///     .cookie(SessionCookie::new("__Host-club"))
///     .lifetime(Lifetime::AAL3)
///     .build()?;
/// let everywhere = sessions.optional();
/// # Ok::<(), tower_wristband::ConfigError>(())
/// ```
///
/// # Order
///
/// A `CorsLayer` goes outside: a preflight carries no cookie and would be refused, and a browser
/// shows a script only a 401 that has CORS headers.
///
/// A timeout and a catcher of panics go inside and answer with a server error (5xx): then what the
/// handler had begun is dropped. A timeout that answers 408 would have it stored; one that is
/// outside would cut off the commit.
#[must_use]
pub struct SessionLayer<R = DefaultRejection> {
    mount: Arc<Mount<R>>,
}

impl SessionLayer {
    /// Safe defaults: a `__Host-session` cookie with every protective flag, 24 hours and at most
    /// one hour without a request, 401 unless signed in.
    #[allow(clippy::missing_panics_doc, reason = "a test builds the defaults")]
    pub fn new(store: impl SessionStore) -> Self {
        Self::builder(store).build().expect("the defaults are valid")
    }

    /// A layer with other options.
    ///
    /// # Security
    ///
    /// All layers over one store are one realm: a token of one of them is good for the others,
    /// whatever the names of their cookies. Give each realm, such as that of users and that of
    /// administrators, a store of its own: another table, another prefix, another
    /// [`MemoryStore`](crate::MemoryStore).
    pub fn builder(store: impl SessionStore) -> SessionLayerBuilder {
        SessionLayerBuilder {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            random: RandomSource::default(),
            cookie: SessionCookie::default(),
            lifetime: Lifetime::default(),
            realm: "session".to_owned(),
            store_timeout: Duration::from_secs(5),
            sessions_per_user: None,
            max_data_bytes: 64 * 1024,
            forward_cookie: true,
            clear_site_data: false,
            not_before: None,
            recheck_interval: Duration::from_secs(30),
        }
    }
}

impl<R> SessionLayer<R> {
    /// A mount that demands this of every request.
    pub fn with_access(&self, access: Access) -> Self
    where
        R: Clone,
    {
        self.derive(AccessRule::Fixed(access), self.mount.rejection.clone())
    }

    /// A mount that lets every request pass; one without a session gets an empty
    /// [`Session`](crate::Session).
    pub fn optional(&self) -> Self
    where
        R: Clone,
    {
        self.with_access(Access::Optional)
    }

    /// A mount that decides by method and address, for hyper and tonic, which have no router to
    /// hang a layer on.
    ///
    /// ```
    /// # use tower_wristband::{Access, MemoryStore, SessionLayer};
    /// # let sessions = SessionLayer::new(MemoryStore::new());
    /// let guarded = sessions.with_access_by(|_method, uri| match uri.path() {
    ///     "/" | "/login" => Access::Optional,
    ///     _ => Access::SignedIn,
    /// });
    /// ```
    ///
    /// # Security
    ///
    /// Put this mount outside of a router's `nest`. Inside of it the rule sees the shortened path:
    /// one that lists `/login` as public then opens `/admin/login` to everybody.
    ///
    /// List what is public and demand a login for the rest, so that a forgotten path is refused.
    /// The path is neither decoded nor normalized.
    pub fn with_access_by<F>(&self, rule: F) -> Self
    where
        F: Fn(&Method, &Uri) -> Access + Send + Sync + 'static,
        R: Clone,
    {
        self.derive(AccessRule::By(Arc::new(rule)), self.mount.rejection.clone())
    }

    /// A mount that answers refused requests in another way, such as
    /// [`RedirectToLogin`](crate::rejection::RedirectToLogin) or a closure
    /// ([`rejection::from_fn`](crate::rejection::from_fn)).
    ///
    /// Where mounts are nested, a missing login is answered by the mount that demands it, but a
    /// look-up or a commit that fails by the outermost one. Give that one the same rejection if its
    /// answers have to look alike.
    pub fn with_rejection<T>(&self, rejection: T) -> SessionLayer<T> {
        self.derive(self.mount.access.clone(), rejection)
    }

    /// Lists and ends sessions.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(Arc::clone(&self.mount.config))
    }

    fn derive<T>(&self, access: AccessRule, rejection: T) -> SessionLayer<T> {
        let config = Arc::clone(&self.mount.config);
        SessionLayer { mount: Arc::new(Mount { config, access, rejection }) }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.mount.config
    }
}

impl<R> Clone for SessionLayer<R> {
    fn clone(&self) -> Self {
        Self { mount: Arc::clone(&self.mount) }
    }
}

impl<R> fmt::Debug for SessionLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("config", &self.mount.config)
            .field("access", &self.mount.access)
            .finish_non_exhaustive()
    }
}

impl<S, R> Layer<S> for SessionLayer<R> {
    type Service = SessionService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, Arc::clone(&self.mount))
    }
}

/// The options of a [`SessionLayer`].
#[must_use]
pub struct SessionLayerBuilder {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    random: RandomSource,
    cookie: SessionCookie,
    lifetime: Lifetime,
    realm: String,
    store_timeout: Duration,
    sessions_per_user: Option<usize>,
    max_data_bytes: usize,
    forward_cookie: bool,
    clear_site_data: bool,
    not_before: Option<Timestamp>,
    recheck_interval: Duration,
}

impl SessionLayerBuilder {
    /// The cookie's name and attributes. Defaults to [`SessionCookie::default`].
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.cookie = cookie;
        self
    }

    /// How long sessions live. Defaults to [`Lifetime::AAL2`].
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The realm in the challenge of a 401: `WWW-Authenticate: Cookie realm="…"`. Defaults to
    /// `session`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// How long each call to the store may take, on tokio's timer; then it counts as failed.
    /// Defaults to 5 seconds.
    pub fn store_timeout(mut self, limit: Duration) -> Self {
        self.store_timeout = limit;
        self
    }

    /// How many living sessions a user may have: a login beyond that ends the oldest, and tells
    /// nobody. Whoever wants to tell the user asks [`Sessions::count`] before the login. Unlimited
    /// by default (OWASP ASVS 5, 7.1.2 asks to document the choice).
    pub fn sessions_per_user(mut self, cap: usize) -> Self {
        self.sessions_per_user = Some(cap);
        self
    }

    /// How large a session's data may be, names and values together, in bytes. Defaults to 64 KiB.
    ///
    /// A handle refuses a value with which the data that it knows would be larger. So requests in
    /// parallel can exceed the limit together. What is in the store is read, however large it is.
    pub fn max_data_bytes(mut self, bytes: usize) -> Self {
        self.max_data_bytes = bytes;
        self
    }

    /// Whether the inner service sees the session cookie. Defaults to `true`; a proxy says `false`,
    /// so that the upstream never gets a token.
    ///
    /// # Security
    ///
    /// Only the cookie of this layer's name is taken away: those of other layers on the host are
    /// forwarded, unless they have a path or a host of their own. What the upstream answers is left
    /// alone, a `Set-Cookie` for the session's name too: a proxy that doesn't trust it removes
    /// those.
    pub fn forward_cookie(mut self, forward: bool) -> Self {
        self.forward_cookie = forward;
        self
    }

    /// Whether a logout also sends `Clear-Site-Data`. Defaults to `false`: it wipes the cookies of
    /// the whole registrable domain, sibling subdomains included.
    pub fn clear_site_data(mut self, clear: bool) -> Self {
        self.clear_site_data = clear;
        self
    }

    /// Ends everybody's sessions that began (or last logged in) before this moment, at their next
    /// request.
    pub fn not_before(mut self, moment: impl Into<Timestamp>) -> Self {
        self.not_before = Some(moment.into());
        self
    }

    /// How often the sessions whose [end is waited for](crate::Session::ended) are looked at where
    /// the store does not tell what changes in it, and while what it tells is interrupted. Defaults
    /// to 30 seconds.
    pub fn recheck_interval(mut self, interval: Duration) -> Self {
        self.recheck_interval = interval;
        self
    }

    /// Where the time comes from. Defaults to [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where random bytes come from, for tests of a generator that fails or repeats itself.
    #[cfg(feature = "testing")]
    pub fn random_source<F>(mut self, fill: F) -> Self
    where
        F: Fn(&mut [u8]) -> Result<(), crate::error::BoxError> + Send + Sync + 'static,
    {
        self.random = RandomSource::Injected(Arc::new(fill));
        self
    }

    /// The layer, if the options go together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a cookie that browsers would ignore, a lifetime or limit that makes no
    /// sense, or a realm that can't be written into a header.
    pub fn build(self) -> Result<SessionLayer, ConfigError> {
        self.lifetime.validate()?;
        let refuse_limit = |message| Err(ConfigError::new(ConfigErrorKind::Limit, message));
        if self.store_timeout.is_zero() {
            return refuse_limit("a store timeout of zero fails every call");
        }
        if self.sessions_per_user == Some(0) {
            return refuse_limit("a cap of zero sessions lets nobody log in");
        }
        if self.recheck_interval.is_zero() {
            return refuse_limit("sessions can't be looked at all the time");
        }
        let watch = Watch::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.store_timeout,
            self.recheck_interval,
        );
        let config = Config {
            cookie: CookieWriter::new(&self.cookie)?,
            challenge: challenge(&self.realm)?,
            store: self.store,
            clock: self.clock,
            random: self.random,
            lifetime: self.lifetime,
            store_timeout: self.store_timeout,
            sessions_per_user: self.sessions_per_user,
            max_data_bytes: self.max_data_bytes,
            forward_cookie: self.forward_cookie,
            clear_site_data: self.clear_site_data,
            not_before: self.not_before,
            watch: Arc::new(watch),
        };
        let mount = Mount {
            config: Arc::new(config),
            access: AccessRule::Fixed(Access::default()),
            rejection: DefaultRejection,
        };
        Ok(SessionLayer { mount: Arc::new(mount) })
    }
}

impl fmt::Debug for SessionLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayerBuilder")
            .field("cookie", &self.cookie)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// `Cookie realm="…"`: a scheme that no browser opens a dialog for, and the realm as a quoted
/// string (RFC 9110, sections 11.5 and 11.6.1).
fn challenge(realm: &str) -> Result<HeaderValue, ConfigError> {
    let printable = |c: char| c == ' ' || c.is_ascii_graphic();
    let quoted = realm.replace('\\', r"\\").replace('"', r#"\""#);
    let challenge = format!("Cookie realm=\"{quoted}\"");
    match HeaderValue::try_from(challenge) {
        Ok(challenge) if realm.chars().all(printable) => Ok(challenge),
        _ => Err(ConfigError::new(ConfigErrorKind::Realm, "a realm is printable ASCII text")),
    }
}
