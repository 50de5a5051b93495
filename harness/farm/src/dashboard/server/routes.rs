//! Which address leads to what, and what is asked before anything is looked at.

use super::{
    super::{
        links, night, outside, trend, trends,
        view::{Dashboard, Form, View},
    },
    access::{Access, is_from_us},
    reply,
};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
        header::{ALLOW, CACHE_CONTROL, ETAG, IF_NONE_MATCH, SET_COOKIE, WWW_AUTHENTICATE},
    },
    middleware::{Next, from_fn_with_state},
    routing::{MethodRouter, get},
};
use protocol::Sha256Hex;
use reports::page::STYLE;
use serde::Deserialize;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// Pages that are made at once; more wait.
const MAX_AT_WORK: usize = 4;
/// A page is given up after so long, its turn included.
const PAGE_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of the one form that is sent.
const MAX_FORM: usize = 8 << 10;
/// Longest value of a query.
const MAX_VALUE: usize = 1000;
const OWN_STYLE: &str = include_str!("../style.css");
const ICON: &str = include_str!("../icon.svg");

/// What all requests share.
struct App {
    dashboard: Dashboard,
    access: Access,
    at_work: Arc<Semaphore>,
    /// Style sheet and its tag.
    style: (String, HeaderValue),
}

type Shared = State<Arc<App>>;
type Asked = Query<BTreeMap<String, String>>;

/// The dashboard, for who may ask.
pub fn router(dashboard: Dashboard, access: Access) -> Router {
    let sheet = format!("{STYLE}{OWN_STYLE}");
    let tag = format!("\"{}\"", Sha256Hex::of_bytes(sheet.as_bytes()));
    let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
    let app = Arc::new(App {
        dashboard,
        access,
        at_work: Arc::new(Semaphore::new(MAX_AT_WORK)),
        style: (sheet, tag),
    });
    Router::new()
        .route("/", fleet(Form::Html))
        .route("/fleet.json", fleet(Form::Json))
        .route("/nights", get(async || reply::see(links::NIGHTS)))
        .route("/nights/", nights(Form::Html))
        .route("/nights.json", nights(Form::Json))
        .route("/nights/{night}", one_night(Form::Html))
        .route("/nights/{night}/summary.json", one_night(Form::Json))
        .route("/nights/{night}/runs/{run}", get(report))
        .route("/devices", get(async || reply::see(links::FLEET)))
        .route("/devices/", get(async || reply::see(links::FLEET)))
        .route("/devices/{id}", device(Form::Html))
        .route("/devices/{id}/device.json", device(Form::Json))
        .route("/trends", get(async || reply::see(links::TRENDS)))
        .route("/trends/", all_trends(Form::Html))
        .route("/trends.json", all_trends(Form::Json))
        .route("/trends/{series}", one_trend(Form::Html))
        .route("/trends/{series}/trend.json", one_trend(Form::Json))
        .route(links::LOGIN, get(login).post(enter))
        .route(links::SHEET, get(style))
        .route(links::ICON, get(async || reply::reply(StatusCode::OK, "image/svg+xml", ICON)))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(from_fn_with_state(Arc::clone(&app), guarded))
        .with_state(app)
}

/// Everything that is asked goes through here, and every answer is sealed here.
async fn guarded(State(app): Shared, request: Request, next: Next) -> Response<Body> {
    let form = form_of(request.uri());
    let answer = match refusal(&app, &request, form) {
        Some(refusal) => refusal,
        None => match timeout(PAGE_LIMIT, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let words = "It took too long to make. Ask again, or for less.";
                reply::problem(form, StatusCode::SERVICE_UNAVAILABLE, "This takes too long", words)
            }
        },
    };
    reply::sealed(answer)
}

fn refusal(app: &App, request: &Request, form: Form) -> Option<Response<Body>> {
    let (uri, headers) = (request.uri(), request.headers());
    let enters = uri.path() == links::LOGIN;
    if !app.access.is_for_us(uri, headers) {
        let words = "This dashboard is for this machine alone: ask for it as 127.0.0.1 or localhost.";
        return Some(reply::problem(form, StatusCode::MISDIRECTED_REQUEST, "Not by this name", words));
    }
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::POST if enters && is_from_us(headers) => {}
        Method::POST if enters => {
            let words = "This form was sent by a page from elsewhere.";
            return Some(reply::problem(form, StatusCode::FORBIDDEN, "Not from there", words));
        }
        _ => {
            let words = "A dashboard is only read: GET and HEAD.";
            let mut refused = reply::problem(form, StatusCode::METHOD_NOT_ALLOWED, "Only to be read", words);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refused);
        }
    }
    let open = enters || [links::SHEET, links::ICON].contains(&uri.path());
    if open || app.access.lets_in(headers) {
        return None;
    }
    let browser = headers
        .get("accept")
        .is_some_and(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"));
    if browser && form == Form::Html {
        let to = uri.path_and_query().map_or("/", |to| to.as_str());
        return Some(reply::see(&format!("{}?to={}", links::LOGIN, links::part(to))));
    }
    let words = "Send the token: Authorization: Bearer TOKEN.";
    let mut refused = reply::problem(form, StatusCode::UNAUTHORIZED, "Who is there?", words);
    refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(refused)
}

fn form_of(uri: &Uri) -> Form {
    if uri.path().ends_with(".json") { Form::Json } else { Form::Html }
}

/// Makes a page where it may wait for a disk; a few at once.
async fn made(
    app: Arc<App>,
    form: Form,
    make: impl FnOnce(&Dashboard) -> View + Send + 'static,
) -> Response<Body> {
    let turn = Arc::clone(&app.at_work).acquire_owned().await;
    let work = spawn_blocking(move || {
        let view = make(&app.dashboard);
        // held until the work is done, also when nobody waits for it any more
        drop(turn);
        view
    });
    match work.await {
        Ok(view) => reply::view(form, view),
        Err(_) => reply::problem(
            form,
            StatusCode::INTERNAL_SERVER_ERROR,
            "Our mistake",
            "This page could not be made.",
        ),
    }
}

fn value(asked: &BTreeMap<String, String>, name: &str) -> String {
    asked.get(name).map(|value| value.chars().take(MAX_VALUE).collect()).unwrap_or_default()
}

fn fleet(form: Form) -> MethodRouter<Arc<App>> {
    get(async move |State(app): Shared| made(app, form, move |dashboard| dashboard.fleet(form)).await)
}

fn nights(form: Form) -> MethodRouter<Arc<App>> {
    get(async move |State(app): Shared, Query(asked): Asked| {
        made(app, form, move |dashboard| dashboard.nights(&value(&asked, "before"), form)).await
    })
}

fn one_night(form: Form) -> MethodRouter<Arc<App>> {
    get(async move |State(app): Shared, Path(name): Path<String>, Query(asked): Asked| {
        let wanted = night::Wanted {
            verdict: value(&asked, "verdict"),
            device: value(&asked, "device"),
            suite: value(&asked, "suite"),
        };
        made(app, form, move |dashboard| dashboard.night(&name, &wanted, form)).await
    })
}

async fn report(State(app): Shared, Path((night, run)): Path<(String, String)>) -> Response<Body> {
    let (at, of) = (night.clone(), run.clone());
    let found = spawn_blocking(move || app.dashboard.report(&at, &of)).await;
    match found.unwrap_or_else(|_| Err(io::Error::other("it was not read"))) {
        Ok((file, bytes)) => reply::report(file, bytes),
        Err(error) => {
            let words = format!(
                "There is no report of run {run:?} in night {night:?} ({error}). `bench report` on the run's folder makes it anew from its record."
            );
            reply::problem(Form::Html, StatusCode::NOT_FOUND, "No report here", &words)
        }
    }
}

fn device(form: Form) -> MethodRouter<Arc<App>> {
    get(async move |State(app): Shared, Path(id): Path<String>| {
        made(app, form, move |dashboard| dashboard.device(&id, form)).await
    })
}

fn all_trends(form: Form) -> MethodRouter<Arc<App>> {
    get(async move |State(app): Shared, Query(asked): Asked| {
        let wanted = trends::Wanted {
            device: value(&asked, "device"),
            suite: value(&asked, "suite"),
            runtime: value(&asked, "runtime"),
            metric: String::new(),
            variant: value(&asked, "variant"),
        };
        let metric = asked.contains_key("metric").then(|| value(&asked, "metric"));
        made(app, form, move |dashboard| dashboard.trends(wanted, metric, form)).await
    })
}

fn one_trend(form: Form) -> MethodRouter<Arc<App>> {
    get(async move |State(app): Shared, Path(id): Path<String>, Query(asked): Asked| {
        let wanted: Option<usize> = value(&asked, "nights").parse().ok();
        let span = wanted.unwrap_or(trend::FIRST_SPAN).clamp(1, trend::MAX_SPAN);
        made(app, form, move |dashboard| dashboard.trend(&id, span, form)).await
    })
}

async fn login(State(app): Shared, Query(asked): Asked) -> Response<Body> {
    if app.access.is_open() {
        return reply::see(links::FLEET);
    }
    reply::page(StatusCode::OK, outside::login(reply::own(&value(&asked, "to")), false))
}

/// What the form sends.
#[derive(Deserialize)]
struct Shown {
    token: String,
    #[serde(default)]
    to: String,
}

async fn enter(State(app): Shared, axum::Form(Shown { token, to }): axum::Form<Shown>) -> Response<Body> {
    let session = app.access.session(&token).and_then(|cookie| HeaderValue::from_str(&cookie).ok());
    match session {
        Some(cookie) => {
            let mut answer = reply::see(&to);
            answer.headers_mut().insert(SET_COOKIE, cookie);
            answer
        }
        None => reply::page(StatusCode::FORBIDDEN, outside::login(reply::own(&to), true)),
    }
}

async fn style(State(app): Shared, headers: HeaderMap) -> Response<Body> {
    let (sheet, tag) = &app.style;
    let known = headers.get(IF_NONE_MATCH) == Some(tag);
    let (status, body) =
        if known { (StatusCode::NOT_MODIFIED, String::new()) } else { (StatusCode::OK, sheet.clone()) };
    let mut answer = reply::reply(status, "text/css; charset=utf-8", body);
    answer.headers_mut().insert(ETAG, tag.clone());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

async fn nothing(uri: Uri) -> Response<Body> {
    let words = format!("There is nothing at {}.", uri.path());
    reply::problem(form_of(&uri), StatusCode::NOT_FOUND, "Not here", &words)
}
