//! Who may ask: the token, and the name by which a browser asks.

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;

/// What a client must show.
pub struct Guard {
    token: Option<String>,
    /// Whether only this machine reaches the program.
    local: bool,
}

/// Why a request is not answered.
pub type Denial = (StatusCode, &'static str);

impl Guard {
    /// `local` says that it listens on a loopback address.
    pub fn new(token: Option<String>, local: bool) -> Guard {
        Guard { token, local }
    }

    /// Why this request is not answered, if so.
    pub fn refuses(&self, path: &str, headers: &HeaderMap) -> Option<Denial> {
        if self.local && self.token.is_none() && !names_this_machine(headers) {
            return Some((
                StatusCode::MISDIRECTED_REQUEST,
                "error: ask for localhost or for an address: a page on the web may have led your browser here under its own name\n",
            ));
        }
        if is_open(path) || self.is_known(headers) {
            return None;
        }
        Some((
            StatusCode::UNAUTHORIZED,
            "error: send the token of had-web: Authorization: Bearer TOKEN\n",
        ))
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).map_or(&[][..], |v| v.as_bytes());
        let Some((scheme, shown)) = given.split_at_checked(7) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(shown.ct_eq(token.as_bytes()))
    }
}

/// Load balancers cannot send a token, and the page has nothing to hide before its user gives one.
fn is_open(path: &str) -> bool {
    path == "/" || path == "/healthz" || (path.starts_with("/groups/") && path.ends_with("/owner"))
}

/// A page of another site cannot give its own name an address of this machine and then read what is here.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true; // No browser.
    };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_client_shows_the_token() {
        let guard = Guard::new(Some("correct-horse".to_owned()), false);
        let code = |path: &str, value| {
            let denial = guard.refuses(path, &headers("authorization", value));
            denial.map(|(code, _)| code)
        };
        assert_eq!(code("/metrics", "Bearer correct-horse"), None);
        assert_eq!(code("/metrics", "bearer correct-horse"), None);
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer correct-hors",
            "Basic correct-horse",
        ] {
            assert_eq!(
                code("/metrics", wrong),
                Some(StatusCode::UNAUTHORIZED),
                "{wrong}"
            );
        }
        for open in ["/", "/healthz", "/groups/web/owner"] {
            assert_eq!(code(open, ""), None);
        }
        assert!(code("/groups/web/owner/x", "").is_some());
    }

    #[test]
    fn a_name_of_the_web_is_not_this_machine() {
        let guard = Guard::new(None, true);
        let refused = |host| guard.refuses("/", &headers("host", host)).is_some();
        for good in [
            "localhost:9694",
            "LOCALHOST",
            "127.0.0.1:9694",
            "[::1]:9694",
            "10.0.0.1",
        ] {
            assert!(!refused(good), "{good}");
        }
        for bad in [
            "evil.example:9694",
            "evil.example",
            "",
            "localhost.evil.example",
        ] {
            assert!(refused(bad), "{bad}");
        }
        assert!(guard.refuses("/", &HeaderMap::new()).is_none());
        let open = Guard::new(None, false);
        assert!(
            open.refuses("/metrics", &headers("host", "alice.example"))
                .is_none()
        );
    }
}
