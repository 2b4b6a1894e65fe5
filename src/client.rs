//! What kind of client sent a request: it decides how a refusal has to look.

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, UPGRADE},
    uri::PathAndQuery,
};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Taken by the outermost mount, before routers inside it shorten the path.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    /// A gRPC call: it reads `grpc-status`, not the HTTP status.
    Grpc,
    /// A WebSocket handshake: it can neither follow a redirect nor keep a cookie of a 101.
    WebSocket,
    /// A browser that goes to a page: it can be sent to a login page and come back.
    Navigation(PathAndQuery),
    /// Everything else.
    Other,
}

impl Client {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        match *request.method() {
            Method::GET | Method::HEAD => Self::of_get(request.uri(), headers),
            // RFC 8441: a WebSocket over HTTP/2 is an extended CONNECT.
            Method::CONNECT => Self::WebSocket,
            _ if is_grpc(headers) => Self::Grpc,
            _ => Self::Other,
        }
    }

    /// One pass over the headers: to hash one name takes as long as to compare several.
    fn of_get(uri: &Uri, headers: &HeaderMap) -> Self {
        let mut mode = None;
        let mut html = false;
        for (name, value) in headers {
            if name == UPGRADE && names_websocket(value) {
                return Self::WebSocket;
            } else if name == ACCEPT {
                html |= accepts_html(value);
            } else if name == SEC_FETCH_MODE {
                mode = mode.or(Some(value));
            }
        }
        // `Sec-Fetch-Mode` says so; a browser too old to send it asks for HTML.
        if mode.map_or(html, |mode| mode == "navigate") {
            let address = uri.path_and_query().cloned();
            Self::Navigation(address.unwrap_or_else(|| PathAndQuery::from_static("/")))
        } else {
            Self::Other
        }
    }
}

fn names_websocket(upgrade: &HeaderValue) -> bool {
    upgrade
        .as_bytes()
        .split(|&byte| byte == b',')
        .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

fn accepts_html(accept: &HeaderValue) -> bool {
    accept.as_bytes().split(|&byte| byte == b',').any(|range| {
        let media_type = range.split(|&byte| byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// `application/grpc`, then nothing, `+` or `;` (gRPC's PROTOCOL-HTTP2.md). gRPC-Web is not among
/// them: its clients read the HTTP status.
fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    headers.get(CONTENT_TYPE).is_some_and(|content_type| {
        match content_type.as_bytes().split_at_checked(GRPC.len()) {
            Some((media_type, rest)) => {
                media_type.eq_ignore_ascii_case(GRPC)
                    && matches!(rest.first(), None | Some(b'+' | b';'))
            }
            None => false,
        }
    })
}
