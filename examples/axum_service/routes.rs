//! What is served under which path.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use crate::control::Settings;
use crate::failure::Failure;
use crate::metrics;
use crate::service::Service;
use crate::work::{Sum, Values};

const MAX_BODY: usize = 64 * 1024;
const MAX_KEY: usize = 100;
const MAX_VALUES: usize = 1_000;
/// What every reader of JSON reads exactly; of as many as are allowed the sum fits into 64 bits.
const MAX_VALUE: i64 = (1 << 53) - 1;

/// All it needs comes with it.
const PAGE: &str = include_str!("page.html");
const PAGE_MAY_LOAD: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer to `POST /batch/{key}`.
#[derive(Serialize)]
struct Answer {
    key: String,
    values: Vec<i64>,
    values_sum: Sum,
    /// In seconds.
    elapsed: f64,
}

/// The service's routes; with those of the page if `page` says so.
pub(crate) fn router(service: Arc<Service>, page: bool) -> Router {
    let mut router = Router::new()
        .route("/batch/{key}", post(batch))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    if page {
        router = router
            .route("/", get(show_page))
            .route("/live", get(live))
            .route("/control", get(control).put(set_control));
    }
    router
        .fallback(async || Failure::invalid(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            let text = "this path does not answer to this method";
            Failure::invalid(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(metrics::count))
        .with_state(service)
}

async fn batch(
    State(service): State<Arc<Service>>,
    key: Result<Path<String>, PathRejection>,
    body: Result<Json<Values>, JsonRejection>,
) -> Result<Json<Answer>, Failure> {
    let invalid = |key: PathRejection| Failure::invalid(key.status(), key.body_text());
    let Path(key) = key.map_err(invalid)?;
    let request = json(body)?;
    check(&key, &request)?;
    let summed = service.sum(request.clone()).await?;
    Ok(Json(Answer {
        key: request.key,
        values: request.values,
        values_sum: summed.sum,
        elapsed: summed.took.as_secs_f64(),
    }))
}

/// The body, or what is wrong with it.
fn json<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Failure> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let text = format!("the body is too large, allowed is {MAX_BODY} bytes");
            Err(Failure::invalid(rejection.status(), text))
        }
        Err(rejection) => Err(Failure::invalid(rejection.status(), rejection.body_text())),
    }
}

fn check(key: &str, request: &Values) -> Result<(), Failure> {
    let invalid = |text| Err(Failure::invalid(StatusCode::UNPROCESSABLE_ENTITY, text));
    let Values {
        key: in_body,
        values,
    } = request;
    if key != in_body {
        return invalid(format!(
            "the key is {key:?} in the path and {in_body:?} in the body"
        ));
    }
    if key.len() > MAX_KEY {
        return invalid(format!(
            "the key has {} bytes, allowed is {MAX_KEY}",
            key.len()
        ));
    }
    if values.len() > MAX_VALUES {
        return invalid(format!(
            "there are {} values, allowed is {MAX_VALUES}",
            values.len()
        ));
    }
    let beyond = |value: &&i64| value.unsigned_abs() > MAX_VALUE.unsigned_abs();
    if let Some(value) = values.iter().find(beyond) {
        return invalid(format!(
            "a value is {value}, allowed is -{MAX_VALUE} to {MAX_VALUE}"
        ));
    }
    Ok(())
}

async fn metrics_text() -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::recorder().render())
}

async fn healthz(State(service): State<Arc<Service>>) -> Result<&'static str, Failure> {
    if service.is_alive() {
        Ok("alive\n")
    } else {
        Err(Failure::unavailable("dead", "the processor has ended"))
    }
}

async fn readyz(State(service): State<Arc<Service>>) -> Result<&'static str, Failure> {
    let unready = |why| Failure::unavailable("not_ready", why);
    service.ready().await.map_err(unready)?;
    Ok("ready\n")
}

async fn show_page() -> impl IntoResponse {
    (
        [(header::CONTENT_SECURITY_POLICY, PAGE_MAY_LOAD)],
        Html(PAGE),
    )
}

/// The events of the feed, as long as the page watches and the service goes on.
async fn live(
    State(service): State<Arc<Service>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = service.feed.watch();
    let events = stream::unfold((service, events), async |(service, mut events)| {
        let event = tokio::select! {
            event = next(&mut events) => event?,
            () = service.stopped() => return None,
        };
        Some((Ok(Event::default().data(event)), (service, events)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// The next event; of those that were missed, none.
async fn next(events: &mut tokio::sync::broadcast::Receiver<Arc<str>>) -> Option<Arc<str>> {
    loop {
        match events.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

async fn control(State(service): State<Arc<Service>>) -> Json<Settings> {
    Json(Settings::of(&service))
}

async fn set_control(
    State(service): State<Arc<Service>>,
    body: Result<Json<Settings>, JsonRejection>,
) -> Result<Json<Settings>, Failure> {
    json(body)?.apply(&service)?;
    Ok(Json(Settings::of(&service)))
}

#[cfg(test)]
mod tests;
