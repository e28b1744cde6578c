//! What the suite sends and gets back.

use serde::{Deserialize, Serialize};

/// A request of the suite. It says what its response has to be: [`Response::to`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Tells the requests of one case apart.
    pub id: u64,
    /// Whatever text: the suite sends short and long ones.
    pub text: String,
}

/// A response of the suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The id of the request that this answers.
    pub id: u64,
    /// The text of that request, with a word in front.
    pub text: String,
}

impl Request {
    /// The request number `id`.
    #[must_use]
    pub fn new(id: u64) -> Self {
        let text = format!("request {id}");
        Self { id, text }
    }
}

impl Response {
    /// The one right response to `request`.
    #[must_use]
    pub fn to(request: &Request) -> Self {
        Self {
            id: request.id,
            text: format!("re: {}", request.text),
        }
    }
}
