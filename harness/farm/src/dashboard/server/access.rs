//! Who may ask: everybody on this machine where nobody else can reach the server, else who has the token. A browser
//! shows it once and is given a cookie, which is a time and a code made with the token: nothing is kept here.

use axum::http::{
    HeaderMap, Uri,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

/// Least characters of a token: 16 random bytes in hexadecimal are 32, in base64 22.
const MIN_TOKEN: usize = 20;
/// Most.
const MAX_TOKEN: usize = 1024;
/// Name of the cookie.
const NAME: &str = "bench-session";
/// A browser is asked for the token again after so many seconds: a working day.
const SESSION_SECONDS: u64 = 12 * 3600;

/// Why a token is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too short or too long.
    #[error(
        "a token has {MIN_TOKEN} to {MAX_TOKEN} characters, this one {0}: make one with `openssl rand -hex 16`"
    )]
    Length(usize),
    /// It cannot be sent.
    #[error(
        "a token is one line of visible ASCII characters without spaces: make one with `openssl rand -hex 16`"
    )]
    Characters,
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Others can reach it, and there is no token.
    #[error(
        "{0} can be reached from other machines: give a token with --token-file FILE or BENCH_SERVE_TOKEN, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
}

/// What opens the dashboard.
#[derive(Clone)]
pub struct Token(Hmac<Sha256>);

/// Who may ask.
#[derive(Clone)]
pub struct Access(Option<Token>);

impl Token {
    /// From text as a file has it; white space around it is not part of it.
    ///
    /// # Errors
    /// It is too short to be safe, too long, or cannot be sent.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        if !(MIN_TOKEN..=MAX_TOKEN).contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        Hmac::new_from_slice(text.as_bytes()).map(Self).map_err(|_| TokenError::Length(text.len()))
    }

    /// Takes as long whatever is shown: codes are compared, made with both.
    fn is(&self, shown: &str) -> bool {
        Self::new(shown).is_ok_and(|shown| self.is_code(TOKEN, &shown.code(TOKEN)))
    }

    fn code(&self, of: &str) -> Vec<u8> {
        self.0.clone().chain_update(of).finalize().into_bytes().to_vec()
    }

    fn is_code(&self, of: &str, code: &[u8]) -> bool {
        self.0.clone().chain_update(of).verify_slice(code).is_ok()
    }

    fn is_session(&self, value: &str, now: u64) -> bool {
        let Some((until, code)) = value.split_once('.') else { return false };
        let code = (code.is_ascii() && code.len() == 64).then(|| {
            (0..32)
                .filter_map(|i| u8::from_str_radix(code.get(2 * i..2 * i + 2)?, 16).ok())
                .collect::<Vec<u8>>()
        });
        code.is_some_and(|code| self.is_code(&format!("{SESSION}{until}"), &code))
            && until.parse::<u64>().is_ok_and(|until| now < until)
    }
}

/// What codes are made for: one is never taken for another.
const TOKEN: &str = "bench token";
const SESSION: &str = "bench session until ";

impl Access {
    /// At this address, with or without a token.
    ///
    /// # Errors
    /// Without a token, other machines must not reach it.
    pub fn new(at: SocketAddr, token: Option<Token>) -> Result<Self, AccessError> {
        if token.is_none() && !at.ip().to_canonical().is_loopback() {
            return Err(AccessError::Open(at));
        }
        Ok(Self(token))
    }

    /// True if no token is asked for.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// True if whoever asks is let in.
    pub(super) fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0 else { return true };
        let bearer =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer.is_some_and(|shown| token.is(shown))
            || cookies(headers).any(|value| token.is_session(value, now()))
    }

    /// The cookie for who has shown the token.
    pub(super) fn session(&self, shown: &str) -> Option<String> {
        let token = self.0.as_ref().filter(|token| token.is(shown))?;
        let until = now() + SESSION_SECONDS;
        let mut code = String::new();
        for byte in token.code(&format!("{SESSION}{until}")) {
            write!(code, "{byte:02x}").expect("writing to a String cannot fail");
        }
        Some(format!("{NAME}={until}.{code}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict"))
    }

    /// True if the request names this server as it may be named. Without a token only as this machine: else a page from
    /// elsewhere, whose name was made to lead here, could read what is meant for this machine.
    pub(super) fn is_for_us(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = uri.authority().map(|authority| authority.as_str());
        let host = headers.get(HOST).and_then(|value| value.to_str().ok());
        self.0.is_some() || host.is_some_and(is_this_machine) && named.is_none_or(is_this_machine)
    }
}

/// True if a form was not sent by a page from elsewhere.
pub(super) fn is_from_us(headers: &HeaderMap) -> bool {
    let text =
        |value: Option<&axum::http::HeaderValue>| value.and_then(|v| v.to_str().ok()).map(str::to_owned);
    match (text(headers.get(ORIGIN)), text(headers.get(HOST))) {
        (None, _) => !headers.contains_key(ORIGIN),
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(&host))
        }
        (Some(_), None) => false,
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

fn is_this_machine(host: &str) -> bool {
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, end)| port(end)).map_or(host, |(name, _)| name);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_is_long_and_can_be_sent() {
        assert_eq!(Token::new("short").err(), Some(TokenError::Length(5)));
        assert_eq!(Token::new(&"x".repeat(1025)).err(), Some(TokenError::Length(1025)));
        assert_eq!(Token::new("0123456789 0123456789 0").err(), Some(TokenError::Characters));
        assert_eq!(Token::new("äääääääääääääääääääääää").err(), Some(TokenError::Characters));
        let token = Token::new(&format!("{GOOD}\n")).unwrap();
        assert!(token.is(GOOD) && !token.is(&GOOD.replace('0', "1")) && !token.is(""));
    }

    #[test]
    fn a_session_ends_and_cannot_be_made_up() {
        let token = Token::new(GOOD).unwrap();
        let access = Access(Some(token.clone()));
        let cookie = access.session(GOOD).unwrap();
        assert!(cookie.ends_with("HttpOnly; SameSite=Strict"), "{cookie}");
        let value = cookie.split(['=', ';']).nth(1).unwrap();
        let (until, code) = value.split_once('.').unwrap();
        let until: u64 = until.parse().unwrap();
        assert!(token.is_session(value, until - 1) && !token.is_session(value, until));
        for made_up in [
            format!("{}.{code}", until + 1),
            format!("{until}."),
            format!("{until}.{}", "é".repeat(32)),
            String::new(),
        ] {
            assert!(!token.is_session(&made_up, 0), "{made_up}");
        }
        let other = Token::new(&GOOD.replace('0', "1")).unwrap();
        assert!(!other.is_session(value, 0));
        assert_eq!(access.session("wrong"), None);
    }

    #[test]
    fn only_this_machine_needs_no_token() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for open in ["0.0.0.0:80", "192.168.1.2:80", "[::]:80", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(Access::new(at(open), None).err(), Some(AccessError::Open(at(open))), "{open}");
            assert!(Access::new(at(open), Some(Token::new(GOOD).unwrap())).is_ok());
        }
        for own in ["127.0.0.1:80", "127.9.9.9:0", "[::1]:80", "[::ffff:127.0.0.1]:1"] {
            assert!(Access::new(at(own), None).is_ok(), "{own}");
        }
    }

    #[test]
    fn names_of_this_machine() {
        for own in ["localhost", "LOCALHOST:8765", "127.0.0.1", "127.0.0.1:1", "[::1]:8765", "[::1]"] {
            assert!(is_this_machine(own), "{own}");
        }
        for other in [
            "example.org",
            "localhost.example.org:80",
            "127.0.0.1.example.org",
            "10.0.0.1:80",
            "",
            "[::2]:1",
            "127.0.0.1:x",
        ] {
            assert!(!is_this_machine(other), "{other}");
        }
    }
}
