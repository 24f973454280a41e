//! The Rust types that columns hold, beside those of the capabilities.

use uuid::Uuid;

use super::value::{ColumnKind, ColumnType, Value};
use crate::calendar::{Date, TimeOfDay};
use crate::clock::Instant;
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::store::version_key::VersionKey;

impl<T: ColumnType> ColumnType for Option<T> {
    const KIND: ColumnKind = T::KIND;
    const IS_NULLABLE: bool = true;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::null(T::KIND), T::to_value)
    }

    fn from_value(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! column_types {
    ($($type:ty: $kind:ident, |$to:ident| $store:expr, |$from:ident| $load:expr;)*) => {$(
        impl ColumnType for $type {
            const KIND: ColumnKind = ColumnKind::$kind;

            fn to_value(&self) -> Value {
                let $to = self;
                Value::from($store)
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$kind(Some($from)) => $load,
                    _ => None,
                }
            }
        }
    )*};
}

column_types! {
    i64: Int, |value| *value, |stored| Some(*stored);
    i32: Int, |value| *value, |stored| i32::try_from(*stored).ok();
    u32: Int, |value| *value, |stored| u32::try_from(*stored).ok();
    u16: Int, |value| i64::from(*value), |stored| u16::try_from(*stored).ok();
    bool: Int, |value| *value, |stored| match stored { 0 => Some(false), 1 => Some(true), _ => None };
    String: Text, |value| value.as_str(), |stored| Some(stored.clone());
    Vec<u8>: Blob, |value| value.as_slice(), |stored| Some(stored.clone());
    Uuid: Blob, |value| *value, |stored| Uuid::from_slice(stored).ok();
    VersionKey: Blob, |value| value.as_bytes(), |stored| Some(VersionKey::from(stored.clone()));
    // Microseconds since 1970 UTC.
    Instant: Int, |value| value.micros(), |stored| Instant::from_micros(*stored).ok();
    // ISO 8601, so that days compare as texts.
    Date: Text, |value| value.to_string(), |stored| Date::parse(stored).ok();
    // Minutes since midnight.
    TimeOfDay: Int, |value| i64::from(value.minutes()),
        |stored| u16::try_from(*stored).ok().and_then(TimeOfDay::from_minutes);
    OrganisationId: Text, |value| value.as_str(), |stored| OrganisationId::parse(stored).ok();
    AttendanceCode: Text, |value| value.as_str(),
        |stored| AttendanceCode::ALL.into_iter().find(|code| code.as_str() == *stored);
}

/// Bytes of a fixed number: hashes, wrapped keys.
impl<const N: usize> ColumnType for [u8; N] {
    const KIND: ColumnKind = ColumnKind::Blob;

    fn to_value(&self) -> Value {
        self.as_slice().into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Blob(Some(bytes)) = value else { return None };
        bytes.as_slice().try_into().ok()
    }
}

/// Organisations as one text, separated by commas.
impl ColumnType for Vec<OrganisationId> {
    const KIND: ColumnKind = ColumnKind::Text;

    fn to_value(&self) -> Value {
        self.iter().map(OrganisationId::as_str).collect::<Vec<_>>().join(",").into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(Some(text)) = value else { return None };
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(|id| OrganisationId::parse(id).ok()).collect()
    }
}

/// Declares that protobuf enumerations are stored as their numbers, alone or, as a list, as one text separated by
/// commas.
#[macro_export]
macro_rules! stored_enums {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::store::ColumnType for $type {
            const KIND: $crate::store::ColumnKind = $crate::store::ColumnKind::Int;

            fn to_value(&self) -> $crate::store::Value {
                (*self as i32).into()
            }

            fn from_value(value: &$crate::store::Value) -> Option<Self> {
                let number = <i32 as $crate::store::ColumnType>::from_value(value)?;
                Self::try_from(number).ok()
            }
        }

        impl $crate::store::ColumnType for Vec<$type> {
            const KIND: $crate::store::ColumnKind = $crate::store::ColumnKind::Text;

            fn to_value(&self) -> $crate::store::Value {
                let numbers = self.iter().map(|value| (*value as i32).to_string());
                numbers.collect::<Vec<_>>().join(",").into()
            }

            fn from_value(value: &$crate::store::Value) -> Option<Self> {
                let $crate::store::Value::Text(Some(text)) = value else { return None };
                let parts = text.split(',').filter(|part| !part.is_empty());
                parts.map(|part| part.parse::<i32>().ok().and_then(|number| <$type>::try_from(number).ok())).collect()
            }
        }
    )*};
}

/// Declares an enumeration whose values are stored, and sent, as texts.
#[macro_export]
macro_rules! stored_texts {
    ($(#[$of_type:meta])* $type:ident { $($(#[$meta:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$of_type])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[$meta])* $name,)* }

        impl $type {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the value as it is sent and stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Parses a value.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl $crate::store::ColumnType for $type {
            const KIND: $crate::store::ColumnKind = $crate::store::ColumnKind::Text;

            fn to_value(&self) -> $crate::store::Value {
                self.as_str().into()
            }

            fn from_value(value: &$crate::store::Value) -> Option<Self> {
                let $crate::store::Value::Text(Some(text)) = value else { return None };
                Self::parse(text)
            }
        }
    };
}

/// Declares that flags (of the crate `bitflags`) are stored as one integer, the sum of their bits.
#[macro_export]
macro_rules! stored_flags {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::store::ColumnType for $type {
            const KIND: $crate::store::ColumnKind = $crate::store::ColumnKind::Int;

            fn to_value(&self) -> $crate::store::Value {
                self.bits().into()
            }

            fn from_value(value: &$crate::store::Value) -> Option<Self> {
                $crate::store::ColumnType::from_value(value).and_then(Self::from_bits)
            }
        }
    )*};
}
