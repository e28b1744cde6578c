//! A serializer round another one that refuses NaN and the infinities, wherever they are.

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Serializes `value`, or fails where it holds a float that is not finite.
pub(super) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + ?Sized,
    S: Serializer,
{
    value.serialize(Finite(serializer))
}

struct Finite<S>(S);

/// A value that is serialized through [`Finite`] in its turn.
struct Inside<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Inside<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

/// Methods that are handed on as they are.
macro_rules! pass_on {
    ($($method:ident($($name:ident: $type:ty),*))*) => {
        $(fn $method(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($name),*)
        })*
    };
}

/// Methods that begin a compound form, whose parts are then wrapped.
macro_rules! begin {
    ($($method:ident($($name:ident: $type:ty),*) -> $compound:ident)*) => {
        $(fn $method(self, $($name: $type),*) -> Result<Self::$compound, S::Error> {
            self.0.$method($($name),*).map(Finite)
        })*
    };
}

impl<S: Serializer> Serializer for Finite<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Finite<S::SerializeSeq>;
    type SerializeTuple = Finite<S::SerializeTuple>;
    type SerializeTupleStruct = Finite<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Finite<S::SerializeTupleVariant>;
    type SerializeMap = Finite<S::SerializeMap>;
    type SerializeStruct = Finite<S::SerializeStruct>;
    type SerializeStructVariant = Finite<S::SerializeStructVariant>;

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        finite(value.into())?;
        self.0.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        finite(value)?;
        self.0.serialize_f64(value)
    }

    pass_on! {
        serialize_bool(value: bool)
        serialize_i8(value: i8)
        serialize_i16(value: i16)
        serialize_i32(value: i32)
        serialize_i64(value: i64)
        serialize_i128(value: i128)
        serialize_u8(value: u8)
        serialize_u16(value: u16)
        serialize_u32(value: u32)
        serialize_u64(value: u64)
        serialize_u128(value: u128)
        serialize_char(value: char)
        serialize_str(value: &str)
        serialize_bytes(value: &[u8])
        serialize_none()
        serialize_unit()
        serialize_unit_struct(name: &'static str)
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
    }

    begin! {
        serialize_seq(len: Option<usize>) -> SerializeSeq
        serialize_tuple(len: usize) -> SerializeTuple
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeTupleVariant
        serialize_map(len: Option<usize>) -> SerializeMap
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeStructVariant
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Inside(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Inside(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0
            .serialize_newtype_variant(name, index, variant, &Inside(value))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// The compound forms: each hands on its parts, wrapped.
macro_rules! compound {
    ($($trait:ident { $($method:ident($($name:ident: $type:ty)?))* })*) => {
        $(impl<C: $trait> $trait for Finite<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            $(fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: $type,)?
                value: &T,
            ) -> Result<(), C::Error> {
                self.0.$method($($name,)? &Inside(value))
            })*

            fn end(self) -> Result<C::Ok, C::Error> {
                self.0.end()
            }
        })*
    };
}

compound! {
    SerializeSeq { serialize_element() }
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeStruct { serialize_field(name: &'static str) }
    SerializeStructVariant { serialize_field(name: &'static str) }
    SerializeMap { serialize_key() serialize_value() }
}

fn finite<E: Error>(value: f64) -> Result<(), E> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(E::custom(format_args!("{value} is not a JSON number")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use crate::codec::{Decode, Encode, Json};
    use crate::error::{ErrorKind, Result};

    /// Every form of the data model that JSON has.
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Everything {
        tuple: (u8, f32),
        list: Vec<f64>,
        map: BTreeMap<String, f64>,
        some: Option<f64>,
        none: Option<f64>,
        unit: Unit,
        newtype: Newtype,
        variants: Vec<Variant>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Unit;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Newtype(f64);

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Variant {
        Unit,
        Newtype(f64),
        Tuple(f64, f64),
        Struct { x: f64 },
    }

    fn everything(x: f64) -> [Everything; 9] {
        let good = || Everything {
            tuple: (1, 2.5),
            list: vec![0.1, -1e300, 5e-324],
            map: BTreeMap::from([("key".into(), 0.3)]),
            some: Some(1.0),
            none: None,
            unit: Unit,
            newtype: Newtype(2.0),
            variants: vec![Variant::Unit],
        };
        let with_variant = |variant| Everything {
            variants: vec![variant],
            ..good()
        };
        [
            Everything {
                tuple: (1, x as f32),
                ..good()
            },
            Everything {
                list: vec![1.0, x],
                ..good()
            },
            Everything {
                map: BTreeMap::from([("key".into(), x)]),
                ..good()
            },
            Everything {
                some: Some(x),
                ..good()
            },
            Everything {
                newtype: Newtype(x),
                ..good()
            },
            with_variant(Variant::Newtype(x)),
            with_variant(Variant::Tuple(1.0, x)),
            with_variant(Variant::Struct { x }),
            with_variant(Variant::Struct { x }),
        ]
    }

    fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Json.encode(value, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn what_is_finite_is_written_as_serde_json_does_and_comes_back_equal() {
        for value in everything(0.1) {
            let bytes = json(&value).unwrap();
            assert_eq!(bytes, serde_json::to_vec(&value).unwrap());
            let back: Everything = Json.decode(&bytes).unwrap();
            assert_eq!(back, value);
        }
    }

    #[test]
    fn a_float_that_is_not_finite_is_refused_wherever_it_is() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for value in everything(x) {
                let error = json(&value).expect_err(&format!("{value:?}"));
                assert_eq!(error.kind(), ErrorKind::Encode);
                assert!(
                    error.to_string().contains("is not a JSON number"),
                    "{error}"
                );
            }
        }
    }
}
