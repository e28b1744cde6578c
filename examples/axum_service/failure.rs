//! What a caller is told when there is no response: the status code and the text.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynamic_batcher::{Error, ErrorKind};
use serde_json::json;

/// A request that ends without its result.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    /// One word for programs.
    kind: &'static str,
    /// One sentence for people.
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    /// What was asked for is not valid.
    pub(crate) fn invalid(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "invalid", message)
    }

    /// The process is not what was asked for, ready or alive: `kind` is one word for that.
    pub(crate) fn unavailable(kind: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, message)
    }

    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        let status = match kind {
            ErrorKind::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Timeout { .. } | ErrorKind::HandlerTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            // Nothing is wrong with the request; another process, or this one later, may serve it.
            ErrorKind::Closed | ErrorKind::Connection | ErrorKind::Lost => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            kind: kind.as_str(),
            message: error.to_string(),
            retry_after: error.retry_after(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "kind": self.kind, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(pause) = self.retry_after {
            // In whole seconds; none would be at once.
            let seconds = pause.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_status() {
        let second = Duration::from_secs(1);
        let cases = [
            (
                ErrorKind::QueueFull {
                    retry_after: second,
                },
                429,
            ),
            (
                ErrorKind::Timeout {
                    queued: second,
                    started: false,
                },
                504,
            ),
            (
                ErrorKind::HandlerTimeout {
                    run_timeout: second,
                },
                504,
            ),
            (ErrorKind::Closed, 503),
            (ErrorKind::Connection, 503),
            (ErrorKind::Lost, 503),
            (ErrorKind::Undeliverable { deliveries: 3 }, 500),
            (ErrorKind::Handler, 500),
            (ErrorKind::Panic, 500),
            (ErrorKind::Decode, 500),
        ];
        for (kind, status) in cases {
            let response = Failure::from(Error::new(kind, "")).into_response();
            assert_eq!(response.status(), status, "{kind:?}");
        }
    }

    #[test]
    fn a_full_queue_says_when_to_come_back_in_whole_seconds() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let retry_after = Duration::from_millis(millis);
            let error = Error::new(ErrorKind::QueueFull { retry_after }, "");
            let response = Failure::from(error).into_response();
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
    }
}
