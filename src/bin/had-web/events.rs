//! Server-sent events: the whole cluster at each change, and the age of the information between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::view::View;

/// Clients that follow at a time. The rest of the connections is for those who ask once.
pub const MAX_LISTENERS: usize = 1536;
/// Without a change the age is told after this time, and a client that is gone is noticed.
const TICK: Duration = Duration::from_secs(1);

/// One client that follows. It holds no events of its own: a slow one misses those between.
struct Listener {
    views: watch::Receiver<View>,
    sent: Option<Bytes>,
    _seat: OwnedSemaphorePermit,
}

/// Answers with a stream that does not end.
pub fn follow(views: watch::Receiver<View>, seats: &Arc<Semaphore>) -> Response {
    let Ok(seat) = Arc::clone(seats).try_acquire_owned() else {
        let text = "error: too many clients follow; try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let listener = Listener {
        views,
        sent: None,
        _seat: seat,
    };
    let events = stream::unfold((listener, false), |(mut listener, waits)| async move {
        let event = listener.next(waits).await?;
        Some((Ok::<_, Infallible>(event), (listener, true)))
    });
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(events),
    )
        .into_response()
}

impl Listener {
    /// The next event; none when the program ends.
    async fn next(&mut self, waits: bool) -> Option<Bytes> {
        if waits && let Ok(Err(_closed)) = timeout(TICK, self.views.changed()).await {
            return None;
        }
        let view = self.views.borrow_and_update().clone();
        let news = view.last().map(|answer| answer.event.clone());
        let is_news = |event: &Bytes| {
            self.sent
                .as_ref()
                .is_none_or(|s| s.as_ptr() != event.as_ptr())
        };
        if view.fresh().is_ok()
            && let Some(event) = news.filter(is_news)
        {
            self.sent = Some(event.clone());
            return Some(event);
        }
        Some(age_event(&view))
    }
}

fn age_event(view: &View) -> Bytes {
    let age = view.age().map(|age| age.as_millis());
    let data = serde_json::json!({ "age": age, "trouble": view.silence() });
    format!("event: age\ndata: {data}\n\n").into()
}
