//! The caller's side of each runtime that sends. One that has ended, or that nobody drives, has no call
//! of another wait.

use std::sync::{Arc, Mutex, PoisonError};

use dynamic_batcher::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

use crate::caller::Caller;

/// Each is made with the first call on its runtime.
#[derive(Default)]
pub(crate) struct Callers(Mutex<Vec<Arc<Caller>>>);

impl Callers {
    /// That of the current runtime.
    ///
    /// # Errors
    ///
    /// `Config` where there is none, and so nothing that could end a call at its deadline.
    pub(crate) fn here(&self, start: impl FnOnce(&Handle) -> Caller) -> Result<Arc<Caller>> {
        let runtime =
            Handle::try_current().map_err(|error| Error::with_source(ErrorKind::Config, error))?;
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = callers.iter().find(|caller| caller.serves(runtime.id())) {
            return Ok(Arc::clone(caller));
        }
        callers.retain(|caller| !caller.has_ended());
        let caller = Arc::new(start(&runtime));
        callers.push(Arc::clone(&caller));
        Ok(caller)
    }
}
