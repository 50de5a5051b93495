//! What every answer carries: what a page may do (nothing but look as it looks), and how long it may be kept.

use super::super::{
    outside,
    view::{Form, View},
};
use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue, Response, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
};
use maud::Markup;
use std::fs::File;
use tokio_util::io::ReaderStream;

/// What a page of the dashboard may load and do: its style, its icon, its own forms.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A report has its style within and nothing else; whatever else such a file holds, it can do nothing.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox";
/// On every answer.
const ALWAYS: [(HeaderName, &str); 3] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // not `no-referrer`: with it a form does not say where it comes from
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
const HTML: &str = "text/html; charset=utf-8";
/// Bytes of a report that are read at once.
const CHUNK: usize = 64 << 10;

/// An answer with a body of this type.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A page.
pub(super) fn page(status: StatusCode, markup: Markup) -> Response<Body> {
    reply(status, HTML, markup.into_string())
}

/// Something that cannot be shown, as who asks can read it.
pub(super) fn problem(form: Form, status: StatusCode, title: &str, words: &str) -> Response<Body> {
    match form {
        Form::Html => page(status, outside::problem(title, words)),
        Form::Json => reply(status, "application/json", serde_json::json!({ "error": words }).to_string()),
    }
}

/// What was made.
pub(super) fn view(form: Form, view: View) -> Response<Body> {
    match view {
        View::Page(markup) => page(StatusCode::OK, markup),
        View::Json(bytes) => reply(StatusCode::OK, "application/json", bytes),
        View::Missing(words) => problem(form, StatusCode::NOT_FOUND, "Not here", &words),
        View::Failed(words) => {
            problem(form, StatusCode::SERVICE_UNAVAILABLE, "This cannot be read now", &words)
        }
    }
}

/// A report, as it lies on disk, read while it is sent.
pub(super) fn report(file: File, bytes: u64) -> Response<Body> {
    use tokio::io::AsyncReadExt;
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(bytes), CHUNK);
    let mut response = reply(StatusCode::OK, HTML, Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY));
    response
}

/// Sends somebody elsewhere; to the first page where `to` is no address of ours.
pub(super) fn see(to: &str) -> Response<Body> {
    let mut response = reply(StatusCode::SEE_OTHER, HTML, Body::empty());
    let to = HeaderValue::from_str(own(to)).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
}

/// An address within this server; the first page for every other one.
pub(super) fn own(to: &str) -> &str {
    let elsewhere = to.starts_with("//") || to.contains(['\\', '\r', '\n', '\t']);
    if to.starts_with('/') && !elsewhere { to } else { "/" }
}

/// Puts on an answer what every answer carries.
pub(super) fn sealed(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for own_page in ["/", "/nights/a%2F?x=1"] {
            assert_eq!(own(own_page), own_page);
        }
        for other in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\r\nSet-Cookie: b"]
        {
            assert_eq!(own(other), "/", "{other}");
        }
    }
}
