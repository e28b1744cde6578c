//! Without the feature `metrics`: nobody is told of calls, and nothing is left of this.

use std::marker::PhantomData;

use crate::error::Error;

#[derive(Clone, Default)]
pub(crate) struct Told {}

pub(crate) struct Open<'a>(PhantomData<&'a Told>);

impl Told {
    pub(crate) fn open(&self, _calls: usize) -> Open<'_> {
        Open(PhantomData)
    }
}

impl Open<'_> {
    pub(crate) fn ended<'e>(self, _errors: impl IntoIterator<Item = &'e Error>) {}
}
