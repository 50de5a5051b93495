//! The dashboard over a farm that never was: every page that a page leads to, who may ask, and what cannot be reached.
#![cfg(test)]

#[path = "common/fixture.rs"]
mod fixture;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use farm::dashboard::{Access, Dashboard, Token, router, serve};
use fixture::{Fixture, HOSTILE};
use reports::history::History;
use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    net::SocketAddr,
    path::Path,
    sync::OnceLock,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tower::ServiceExt;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const REPORT: &[u8] = b"<!DOCTYPE html><html lang=en><title>a report</title><p>as it was written</p></html>";

fn farm() -> &'static Fixture {
    static FARM: OnceLock<(tempfile::TempDir, Fixture)> = OnceLock::new();
    let (_, farm) = FARM.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let farm = fixture::make(place.path(), REPORT);
        (place, farm)
    });
    farm
}

fn local() -> SocketAddr {
    "127.0.0.1:80".parse().unwrap()
}

fn open() -> Router {
    let farm = farm();
    router(
        Dashboard::new(&farm.nights, Some(History::folder(&farm.history))),
        Access::new(local(), None).unwrap(),
    )
}

fn closed() -> Router {
    let access = Access::new(local(), Some(Token::new(TOKEN).unwrap())).unwrap();
    router(Dashboard::new(&farm().nights, None), access)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 64 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

fn request(method: Method, uri: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(uri).header("host", "127.0.0.1:80")
}

async fn get(app: &Router, uri: &str) -> Answer {
    ask(app, request(Method::GET, uri).body(Body::empty()).unwrap()).await
}

/// Every address of this server that a page names.
fn links(page: &str) -> BTreeSet<String> {
    let marks = ["href=\"", "action=\""];
    let all = marks.iter().flat_map(|mark| page.split(mark).skip(1));
    let own = all.filter_map(|rest| rest.split('"').next()).filter(|to| to.starts_with('/'));
    own.map(|to| to.split('#').next().unwrap().replace("&amp;", "&")).collect()
}

/// A page without the values of its fields, which are sent back as they are and not shown.
fn shown(page: &str) -> String {
    let mut parts = page.split(" value=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once('"')).fold(first, |all, (_, rest)| all + rest)
}

#[tokio::test]
async fn every_page_that_a_page_leads_to_is_there_and_harmless() {
    let app = open();
    let mut queue: VecDeque<String> = ["/", "/nights/", "/trends/?metric="].map(str::to_owned).into();
    let mut seen: BTreeSet<String> = queue.iter().cloned().collect();
    let mut kinds = BTreeSet::new();
    while let Some(uri) = queue.pop_front() {
        let answer = get(&app, &uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{uri}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{uri}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("script"), "{uri}: {policy}");
        kinds.insert(answer.header("content-type").to_owned());
        if uri.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&answer.text).unwrap();
            continue;
        }
        if answer.header("content-type").starts_with("text/html") && !uri.contains("/runs/") {
            assert!(
                !answer.text.contains("<script")
                    && !answer.text.contains("<img")
                    && !answer.text.contains(" style="),
                "{uri}"
            );
            assert!(!shown(&answer.text).contains('\u{202e}'), "{uri}: text can turn what follows around");
            assert!(answer.text.contains("<main id=\"main\"") && answer.text.contains("<h1>"), "{uri}");
        }
        for to in links(&answer.text) {
            if seen.insert(to.clone()) {
                queue.push_back(to);
            }
        }
    }
    for part in ["/nights/2", "/runs/", "/devices/%3Cscript", "/trends/0", ".json", "/trends/?device="] {
        assert!(seen.iter().any(|uri| uri.contains(part)), "{part}: {seen:#?}");
    }
    assert_eq!(kinds.len(), 4, "HTML, JSON, CSS and SVG: {kinds:?}");
    assert!(seen.len() > fixture::NIGHTS + 36, "{}", seen.len());
}

#[tokio::test]
async fn the_first_page_answers() {
    let page = get(&open(), "/").await.text;
    for told in [
        "1 series got worse, 1 change not confirmed yet, 2 devices sick",
        "No route to host",
        "61.2\u{202f}°C",
        "+3.10\u{202f}%",
        "keyword@onnx-int8 crashed (SIGSEGV) in 2 units",
        "19 of 240",
        "probed again",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    let trend = format!("/trends/{}", farm().moved.id());
    assert!(page.contains(&trend), "the change leads to its series");
}

#[tokio::test]
async fn nights_that_are_damaged_or_not_ended_are_shown_as_far_as_they_can_be() {
    let app = open();
    let name = |back: usize| farm().names[fixture::NIGHTS - 1 - back].clone();
    let cut = get(&app, &format!("/nights/{}", name(3))).await.text;
    assert!(
        cut.contains("Not ended yet, 9 of 24 jobs done") || cut.contains("Not ended yet: 9 of 24 jobs done"),
        "{cut}"
    );
    let damaged = get(&app, &format!("/nights/{}", name(5))).await.text;
    assert!(damaged.contains("summary.json is damaged, or is being written"), "{damaged}");
    assert!(damaged.contains("journal.jsonl is damaged"), "{damaged}");
    assert!(
        damaged.contains("24 jobs") || damaged.contains("every job is done"),
        "what plan and journal say is shown: {damaged}"
    );
    let newer = get(&app, &format!("/nights/{}", name(6))).await.text;
    assert!(newer.contains("has schema 99, this version of bench reads 1"), "{newer}");
}

#[tokio::test]
async fn a_trend_tells_its_change_and_what_moved_with_it() {
    let app = open();
    let to = format!("/trends/{}", farm().moved.id());
    let page = get(&app, &to).await.text;
    for told in [
        "confirmed",
        "class=\"step worse\"",
        "class=\"band\"",
        "2.2.1",
        "2.3.0",
        "contended",
        "bench history ack aaaaaaaaaaaa",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(page.contains("run=cut.parquet"), "what cannot be read is told");
    let data: serde_json::Value =
        serde_json::from_str(&get(&app, &format!("{to}/trend.json")).await.text).unwrap();
    assert_eq!(data["changes"].as_array().unwrap().len(), 1);
    assert_eq!(data["alarms"][0]["state"], "confirmed");
    let known = get(&app, "/trends/?device=pi-5&variant=onnx").await.text;
    assert!(known.contains("✓ refuted") && !known.contains(">mobilenet@tflite-int8</bdi></a>"), "{known}");
    let missing = get(&app, "/trends/ffffffffffffffff").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_empty_farm_says_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    for history in [None, Some(History::folder(place.path().join("history")))] {
        let app =
            router(Dashboard::new(place.path().join("nights"), history), Access::new(local(), None).unwrap());
        for (uri, todo) in [
            ("/", "bench nightly farm.toml"),
            ("/nights/", "bench nightly"),
            ("/trends/", "bench history import"),
        ] {
            let answer = get(&app, uri).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.text.contains(todo), "{uri}: {}", answer.text);
        }
        assert_eq!(get(&app, "/devices/nobody").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_report_is_the_same_file_and_can_do_nothing() {
    let farm = farm();
    let uri = format!("/nights/{}/runs/{}", farm.names.last().unwrap(), farm.run);
    let answer = get(&open(), &uri).await;
    assert_eq!(answer.text.as_bytes(), REPORT);
    assert!(answer.header("content-security-policy").ends_with("; sandbox"));
    let head = ask(&open(), request(Method::HEAD, &uri).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), REPORT.len().to_string());
    let missing = get(&open(), &format!("/nights/{}/runs/none", farm.names[0])).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text.contains("bench report"));
}

#[tokio::test]
async fn nothing_outside_of_the_farm_is_reached() {
    let place = tempfile::tempdir().unwrap();
    let night = place.path().join("nights/n");
    let run = night.join("runs/r");
    fs::create_dir_all(&run).unwrap();
    fs::write(night.join("plan.json"), "{}").unwrap();
    let secret = |folder: &Path| {
        fs::create_dir_all(folder).unwrap();
        for file in ["report.html", "plan.json", "summary.json"] {
            fs::write(folder.join(file), "a secret").unwrap();
        }
    };
    let outside = place.path().join("outside");
    secret(&outside);
    secret(&place.path().join("runs/r"));
    std::os::unix::fs::symlink(&outside, night.join("runs/link")).unwrap();
    std::os::unix::fs::symlink(&outside, place.path().join("nights/link")).unwrap();
    std::os::unix::fs::symlink(outside.join("report.html"), run.join("report.html")).unwrap();
    let app = router(Dashboard::new(place.path().join("nights"), None), Access::new(local(), None).unwrap());
    for uri in [
        "/nights/n/runs/r",
        "/nights/n/runs/link",
        "/nights/n/runs/..",
        "/nights/n/runs/%2e%2e",
        "/nights/n/runs/..%2f..%2f..%2foutside",
        "/nights/..%2foutside",
        "/nights/%2e%2e/runs/r",
        "/nights/../runs/r",
        "/nights/link",
        "/nights/link/summary.json",
        "/nights/link/runs/r",
        "/nights/n%00",
        "/nights/%2fetc",
        "/nights/%ff",
        "/../../etc/passwd",
        "/style.css/../../etc/passwd",
    ] {
        let answer = get(&app, uri).await;
        assert!(answer.status.is_client_error(), "{uri}: {}", answer.status);
        assert!(!answer.text.contains("a secret") && !answer.text.contains("root:"), "{uri}");
    }
    assert_eq!(get(&app, "/nights/n").await.status, StatusCode::OK);
}

#[tokio::test]
async fn it_is_only_read() {
    for app in [open(), closed()] {
        for method in
            [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE]
        {
            let answer = ask(&app, request(method.clone(), "/").body(Body::empty()).unwrap()).await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"),
                "{method}"
            );
        }
    }
}

#[tokio::test]
async fn other_names_do_not_lead_here() {
    let named = |host: &str| Request::builder().uri("/").header("host", host).body(Body::empty()).unwrap();
    for host in ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1"] {
        let answer = ask(&open(), named(host)).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!answer.text.contains("pixel-8"));
    }
    let nameless = Request::builder().uri("/").body(Body::empty()).unwrap();
    assert_eq!(ask(&open(), nameless).await.status, StatusCode::MISDIRECTED_REQUEST);
    for host in ["localhost:80", "[::1]:80", "127.0.0.1"] {
        assert_eq!(ask(&open(), named(host)).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn who_has_no_token_sees_nothing() {
    let app = closed();
    for uri in ["/", "/nights/", "/fleet.json", "/trends/", "/nowhere"] {
        let answer = get(&app, uri).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (StatusCode::UNAUTHORIZED, "Bearer"),
            "{uri}"
        );
        assert!(!answer.text.contains("pixel-8"), "{uri}");
    }
    for wrong in
        ["Bearer ", "Bearer wrong", "Basic 0123456789abcdef0123456789abcdef", &format!("Bearer {TOKEN}x")]
    {
        let asked = request(Method::GET, "/").header("authorization", wrong).body(Body::empty()).unwrap();
        assert_eq!(ask(&app, asked).await.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let right = request(Method::GET, "/")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::empty())
        .unwrap();
    let answer = ask(&app, right).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.contains("pixel-8"));
}

#[tokio::test]
async fn a_browser_enters_by_a_form() {
    let app = closed();
    let asked = request(Method::GET, "/nights/?before=a%26b")
        .header("accept", "text/html")
        .body(Body::empty())
        .unwrap();
    let sent = ask(&app, asked).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    assert_eq!(sent.header("location"), "/login?to=%2Fnights%2F%3Fbefore%3Da%2526b");
    let form = get(&app, sent.header("location")).await;
    assert!(form.text.contains("name=\"to\" value=\"/nights/?before=a%26b\""), "{}", form.text);
    let enter = |token: &str, to: &str, origin: Option<&str>| {
        let body = format!("token={token}&to={to}");
        let mut builder =
            request(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            builder = builder.header("origin", origin);
        }
        builder.body(Body::from(body)).unwrap()
    };
    let refused = ask(&app, enter("wrong", "/", None)).await;
    assert_eq!((refused.status, refused.header("set-cookie")), (StatusCode::FORBIDDEN, ""));
    for from in ["https://evil.example", "null"] {
        assert_eq!(ask(&app, enter(TOKEN, "/", Some(from))).await.status, StatusCode::FORBIDDEN);
    }
    let elsewhere = ask(&app, enter(TOKEN, "//evil.example", None)).await;
    assert_eq!(elsewhere.header("location"), "/");
    let entered = ask(&app, enter(TOKEN, "%2Fnights%2F", Some("http://127.0.0.1:80"))).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, "/nights/"));
    let cookie = entered.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let session = format!("a=b; {}", cookie.split(';').next().unwrap());
    let inside = request(Method::GET, "/").header("cookie", session).body(Body::empty()).unwrap();
    assert_eq!(ask(&app, inside).await.status, StatusCode::OK);
    let long = Body::from(format!("token={}", "x".repeat(20_000)));
    let long = request(Method::POST, "/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(long)
        .unwrap();
    assert_eq!(ask(&app, long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn hostile_names_are_shown_as_text() {
    let page = get(&open(), "/").await.text;
    assert!(page.contains("&lt;script&gt;document.title") && page.contains("\\u{202e}"));
    let id: String = HOSTILE[1].bytes().map(|b| format!("%{b:02X}")).collect();
    let device = get(&open(), &format!("/devices/{id}")).await;
    assert_eq!(device.status, StatusCode::OK);
    assert!(!device.text.contains("<img"), "{}", device.text);
}

/// Sends bytes, and gives all that comes back.
async fn raw(at: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    // the server may close before everything was sent
    stream.read_to_end(&mut got).await.unwrap_or_default();
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn over_a_socket_heads_have_a_size_and_the_end_is_graceful() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, open(), async { stopped.await.unwrap_or_default() }));
    let good = raw(at, &format!("GET /style.css HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")).await;
    assert!(good.starts_with("HTTP/1.1 200") && good.contains("text/css"), "{good}");
    let long = raw(at, &format!("GET /{} HTTP/1.1\r\nHost: {at}\r\n\r\n", "x".repeat(200_000))).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");
    let many = raw(at, &format!("GET / HTTP/1.1\r\nHost: {at}\r\n{}\r\n", "a: b\r\n".repeat(200))).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let nonsense = raw(at, "nonsense\r\n\r\n").await;
    assert!(nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400"), "{nonsense}");
    // an idle connection does not keep it from ending
    let idle = TcpStream::connect(at).await.unwrap();
    stop.send(()).unwrap();
    served.await.unwrap();
    drop(idle);
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
}
