//! The pages.

use axum::{
    http::{HeaderName, header::CACHE_CONTROL},
    response::Html,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tower_wristband::{Session, SessionKey, SessionSummary, Timestamp, UserId};

use crate::{
    login::LoginForm,
    time::{readable, rfc3339},
};

/// No browser keeps one on disk. `back.js` sees to what it keeps in memory for its back button.
pub(crate) type Page = ([(HeaderName, &'static str); 1], Html<String>);

const STYLE: PreEscaped<&str> = PreEscaped(include_str!("style.css"));
const WRISTBAND: PreEscaped<&str> = PreEscaped(include_str!("wristband.svg"));
const BACK: PreEscaped<&str> = PreEscaped(include_str!("back.js"));
const LIVE: PreEscaped<&str> = PreEscaped(include_str!("live.js"));

/// Told on the dashboard.
const ROUTES: [(&str, &str); 4] = [
    ("GET /me", "who you are, as JSON"),
    ("POST /count", "adds one, answers the number"),
    ("PUT /notes/{name}", "keeps a text; GET reads it"),
    ("POST /slow?ms=3000", "writes, waits, answers"),
];

pub(crate) fn home(user: Option<&UserId>, visits: Option<u64>) -> Page {
    let content = html! {
        @match user {
            Some(user) => section.card {
                h1 { "Hello, " (user) }
                (band(Some(user), None))
                p { "The server knows who wears this wristband; the browser only carries it." }
                div.actions { a.button href="/dashboard" { "Open your dashboard" } }
            }
            None => section.card {
                h1 { "Come on in" }
                (band(None, None))
                p {
                    "Log in to get your wristband: a cookie with a random token, and nothing else. "
                    "Who wears it is known to the server alone."
                }
                div.actions { a.button href="/login" { "Log in" } }
            }
        }
        section.card {
            h2 { "Your visits" }
            @match visits {
                Some(visits) => {
                    p { "Page views since you asked to be remembered: " strong { (visits) } }
                    @if user.is_none() {
                        div.actions { (button("/logout", "Forget me", Look::Quiet)) }
                    }
                }
                None => {
                    p {
                        "They are not counted unless you ask for it."
                        @if user.is_none() { " Until then you get no cookie." }
                    }
                    div.actions { (button("/remember-me-here", "Remember me here", Look::Quiet)) }
                }
            }
        }
    };
    layout("Welcome", user, &content)
}

pub(crate) fn login(form: &LoginForm, failed: bool) -> Page {
    let content = html! {
        section.card.narrow {
            h1 { "Log in" }
            @if failed {
                p.alert role="alert" { "The name or the password is wrong." }
            }
            form method="post" action="/login" {
                label for="user" { "Name" }
                input #user name="user" value=(form.user) autocomplete="username"
                    autocapitalize="none" spellcheck="false" required autofocus;
                label for="password" { "Password" }
                input #password name="password" type="password"
                    autocomplete="current-password" required;
                label.check {
                    input name="remember" type="checkbox" checked[form.remember()];
                    "Keep me signed in for 30 days"
                }
                input type="hidden" name="next" value=(form.next);
                button.button { "Log in" }
            }
            aside.hint {
                p { "This is a demo. Its accounts are" }
                ul {
                    li { code { "alice" } " with the password " code { "wonderland" } }
                    li { code { "bob" } " with the password " code { "builder" } }
                }
            }
        }
    };
    layout("Log in", None, &content)
}

pub(crate) fn dashboard(
    user: &UserId,
    session: &Session,
    count: u64,
    notice: Option<&str>,
) -> Page {
    let content = html! {
        (note(notice))
        section.card {
            h1 { "Your dashboard" }
            (band(Some(user), session.key()))
            dl {
                @if let Some(created) = session.created_at() {
                    div { dt { "Worn since" } dd { (time(created)) } }
                }
                @if let Some(expires) = session.expires_at() {
                    div { dt { "Good until" } dd { (time(expires)) } }
                }
                div { dt { "Counted with " code { "POST /count" } } dd { (count) } }
            }
            div.actions {
                a.button href="/sessions" { "Your devices" }
                (button("/rotate", "Replace the token", Look::Quiet))
            }
        }
        section.card {
            h2 { "For programs" }
            p { "With the session’s cookie; everybody else gets 401." }
            ul.routes {
                @for (route, answer) in ROUTES {
                    li { code { (route) } span { (answer) } }
                }
            }
        }
    };
    layout("Dashboard", Some(user), &content)
}

pub(crate) fn devices(
    user: &UserId,
    devices: &[SessionSummary],
    this: Option<SessionKey>,
    notice: Option<&str>,
) -> Page {
    let revoke = |key| format!("/sessions/{key}/revoke");
    let content = html! {
        (note(notice))
        section.card {
            h1 { "Your devices" }
            p { "Where you are signed in as " strong { (user) } ". What you end ends at once." }
            ul.devices {
                @for device in devices {
                    @let is_this = Some(device.key()) == this;
                    li {
                        div {
                            strong { (device.label().unwrap_or("Unknown browser")) }
                            @if is_this { " " span.badge { "this one" } }
                            p.muted {
                                "Since " (time(device.created_at()))
                                br;
                                "Last seen " (time(device.last_seen_at()))
                            }
                        }
                        (button(&revoke(device.key()), "Sign out", Look::Quiet))
                    }
                }
            }
            @if devices.len() > 1 {
                div.actions {
                    (button("/sessions/revoke-others", "Sign out everywhere else", Look::Strong))
                }
            }
        }
    };
    layout("Your devices", Some(user), &content)
}

pub(crate) fn live(user: &UserId) -> Page {
    let content = html! {
        section.card {
            h1 { "Live" }
            (band(Some(user), None))
            p { "The server’s clock, over a connection that stays open while you are signed in:" }
            p.clock { output #clock aria-live="off" { "connecting" } }
            p.muted {
                "Sign this browser out from another one, under “Devices”, and it stops at once."
            }
        }
        script { (LIVE) }
    };
    layout("Live", Some(user), &content)
}

fn layout(title: &str, user: Option<&UserId>, content: &Markup) -> Page {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Wristband" }
                // An empty icon: browsers ask for /favicon.ico otherwise.
                link rel="icon" href="data:,";
                style { (STYLE) }
            }
            body {
                header {
                    a.brand href="/" { (WRISTBAND) "Wristband" }
                    nav aria-label="Site" {
                        @if user.is_some() {
                            a href="/dashboard" { "Dashboard" }
                            a href="/sessions" { "Devices" }
                            a href="/live" { "Live" }
                            (button("/logout", "Log out", Look::Link))
                        } @else {
                            a href="/login" { "Log in" }
                        }
                    }
                }
                main { (content) }
                footer {
                    "A demo of " code { "tower-wristband" }
                    ": sessions on the server, and hardly any JavaScript."
                }
                @if user.is_some() { script { (BACK) } }
            }
        }
    };
    ([(CACHE_CONTROL, "no-store")], Html(page.into_string()))
}

/// What the site is named after, with the name of who wears it.
fn band(user: Option<&UserId>, key: Option<SessionKey>) -> Markup {
    html! {
        div.band.blank[user.is_none()] {
            span.who { @match user { Some(user) => (user), None => "Admit one" } }
            @if let Some(key) = key { span.serial { "No. " (key) } }
        }
    }
}

enum Look {
    Strong,
    Quiet,
    Link,
}

/// What changes something is a form that posts, never a link.
fn button(action: &str, text: &str, look: Look) -> Markup {
    let class = match look {
        Look::Strong => "button",
        Look::Quiet => "button quiet",
        Look::Link => "link",
    };
    html! {
        form method="post" action=(action) { button class=(class) { (text) } }
    }
}

fn note(notice: Option<&str>) -> Markup {
    html! {
        @if let Some(notice) = notice { p.notice role="status" { (notice) } }
    }
}

fn time(moment: Timestamp) -> Markup {
    html! { time datetime=(rfc3339(moment)) { (readable(moment)) } }
}
