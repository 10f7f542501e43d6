//! The answers, by path. Each is made from the last view; none asks the daemon.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use had::control::api::SCHEMA;
use had::control::select::select_group;
use had::model::heartbeat::GroupState;
use had::model::status::{GroupStatus, Status};
use tokio::sync::{Semaphore, watch};

use crate::events::{self, MAX_LISTENERS};
use crate::guard::Guard;
use crate::metrics::{self, Format};
use crate::policy::{self, PAGE};
use crate::view::{Answer, View};

/// What all answers are made from.
#[derive(Clone)]
struct Source {
    views: watch::Receiver<View>,
    listeners: Arc<Semaphore>,
}

/// All paths, behind the guard.
pub fn router(views: watch::Receiver<View>, guard: Arc<Guard>) -> Router {
    let source = Source {
        views,
        listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
    };
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(health))
        .route("/groups/{*rest}", get(owner))
        .route("/api/v1/status", get(status))
        .route("/api/v1/history", get(history))
        .route("/api/v1/schema", get(schema))
        .route("/events", get(follow))
        .fallback(nothing_here)
        .layer(from_fn_with_state(
            (guard, policy::content_security()),
            answer,
        ))
        .with_state(source)
}

/// Asks the guard, and adds what every answer says to browsers.
async fn answer(
    State((guard, policy)): State<(Arc<Guard>, HeaderValue)>,
    request: Request,
    next: Next,
) -> Response {
    let denial = guard.refuses(request.uri().path(), request.headers());
    let mut response = match denial {
        Some(denial) => denial.into_response(),
        None => next.run(request).await,
    };
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let mut says = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    says(CACHE_CONTROL, "no-store");
    says(REFERRER_POLICY, "no-referrer");
    says(X_CONTENT_TYPE_OPTIONS, "nosniff");
    if unauthorized {
        says(WWW_AUTHENTICATE, "Bearer");
    }
    response
}

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

async fn show_metrics(State(source): State<Source>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    match metrics::render(&source.views.borrow(), format) {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => unavailable(&format!("cannot write the metrics: {error}")),
    }
}

async fn health(State(source): State<Source>) -> Response {
    match source.views.borrow().fresh() {
        Ok(_) => "the daemon answers\n".into_response(),
        Err(trouble) => unavailable(&trouble),
    }
}

/// The name of a group may have slashes, as they are or as `%2F`.
async fn owner(State(source): State<Source>, Path(rest): Path<String>) -> Response {
    let Some(word) = rest.strip_suffix("/owner") else {
        return nothing_here().await.into_response();
    };
    let view = source.views.borrow();
    match view.fresh() {
        Err(trouble) => unavailable(&trouble),
        Ok(answer) => tell_owner(&answer.status, word),
    }
}

fn tell_owner(status: &Status, word: &str) -> Response {
    let groups: Vec<_> = status
        .groups
        .iter()
        .map(|g| (g.name.clone(), g.preferred.clone()))
        .collect();
    let name = match select_group(word, &groups) {
        Ok(name) => name,
        Err(text) => return (StatusCode::NOT_FOUND, format!("error: {text}\n")).into_response(),
    };
    let group = status.groups.iter().find(|g| g.name == name);
    if group.is_some_and(|g| is_online_here(g, status)) {
        return format!("{name} runs on {}, which is this node\n", status.node).into_response();
    }
    let elsewhere = group.and_then(|g| g.owners.iter().find(|o| **o != status.node));
    let place = elsewhere.map_or_else(String::new, |node| format!("; it is on {node}"));
    let text = format!("{name} does not run on {}{place}\n", status.node);
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

fn is_online_here(group: &GroupStatus, status: &Status) -> bool {
    let mut states = group.states.iter();
    states.any(|(node, state)| *node == status.node && *state == GroupState::Online)
}

async fn status(State(source): State<Source>) -> Response {
    json(&source, |answer| answer.status_json.clone())
}

async fn history(State(source): State<Source>) -> Response {
    json(&source, |answer| answer.history_json.clone())
}

async fn schema() -> Response {
    ([(CONTENT_TYPE, "application/schema+json")], SCHEMA).into_response()
}

fn json(source: &Source, part: impl Fn(&Answer) -> Bytes) -> Response {
    match source.views.borrow().fresh() {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], part(answer)).into_response(),
        Err(trouble) => unavailable(&trouble),
    }
}

async fn follow(State(source): State<Source>) -> Response {
    events::follow(source.views.clone(), &source.listeners)
}

async fn nothing_here() -> impl IntoResponse {
    let text = "error: there is nothing here; there are /, /metrics, /groups/GROUP/owner, /healthz, /api/v1/status, \
                /api/v1/history, /api/v1/schema and /events\n";
    (StatusCode::NOT_FOUND, text)
}

fn unavailable(trouble: &str) -> Response {
    let text = format!("error: {trouble}\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
