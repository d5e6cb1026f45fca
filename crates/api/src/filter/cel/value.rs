//! Values while an expression is evaluated. What stands in the event is borrowed.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value as Field};

use super::net::Cidr;

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i128),
    Ip(IpAddr),
    Cidr(Cidr),
    List(Rc<Vec<Value<'a>>>),
    Map(Rc<Vec<(Value<'a>, Value<'a>)>>),
    Message(Cow<'a, DynamicMessage>),
}

impl<'a> Value<'a> {
    /// A value of a message, or of an element of its lists and maps.
    pub(super) fn of(field: Cow<'a, Field>) -> Self {
        match field {
            Cow::Borrowed(Field::String(text)) => Self::Text(Cow::Borrowed(text)),
            Cow::Borrowed(Field::Bytes(bytes)) => Self::Bytes(Cow::Borrowed(bytes)),
            Cow::Borrowed(Field::Message(message)) => Self::of_message(Cow::Borrowed(message)),
            Cow::Borrowed(Field::List(list)) => {
                Self::List(Rc::new(list.iter().map(|value| Self::of(Cow::Borrowed(value))).collect()))
            }
            Cow::Borrowed(Field::Map(map)) => {
                let pairs =
                    map.iter().map(|(key, value)| (Self::of_key(key), Self::of(Cow::Borrowed(value))));
                Self::Map(Rc::new(pairs.collect()))
            }
            Cow::Owned(Field::String(text)) => Self::Text(Cow::Owned(text)),
            Cow::Owned(Field::Bytes(bytes)) => Self::Bytes(Cow::Owned(bytes.to_vec())),
            Cow::Owned(Field::Message(message)) => Self::of_message(Cow::Owned(message)),
            Cow::Owned(Field::List(list)) => {
                Self::List(Rc::new(list.into_iter().map(|value| Self::of(Cow::Owned(value))).collect()))
            }
            Cow::Owned(Field::Map(map)) => {
                let pairs = map
                    .into_iter()
                    .map(|(key, value)| (Self::of_owned_key(key), Self::of(Cow::Owned(value))));
                Self::Map(Rc::new(pairs.collect()))
            }
            scalar => match *scalar {
                Field::Bool(value) => Self::Bool(value),
                Field::I32(value) => Self::Int(value.into()),
                Field::I64(value) => Self::Int(value),
                Field::U32(value) => Self::Uint(value.into()),
                Field::U64(value) => Self::Uint(value),
                Field::F32(value) => Self::Double(value.into()),
                Field::F64(value) => Self::Double(value),
                Field::EnumNumber(value) => Self::Int(value.into()),
                _ => Self::Null,
            },
        }
    }

    fn of_key(key: &'a MapKey) -> Self {
        if let MapKey::String(text) = key {
            Self::Text(Cow::Borrowed(text))
        } else {
            Self::of_owned_key(key.clone())
        }
    }

    fn of_owned_key(key: MapKey) -> Self {
        match key {
            MapKey::Bool(value) => Self::Bool(value),
            MapKey::I32(value) => Self::Int(value.into()),
            MapKey::I64(value) => Self::Int(value),
            MapKey::U32(value) => Self::Uint(value.into()),
            MapKey::U64(value) => Self::Uint(value),
            MapKey::String(text) => Self::Text(Cow::Owned(text)),
        }
    }

    fn of_message(message: Cow<'a, DynamicMessage>) -> Self {
        let descriptor = message.descriptor();
        let name = descriptor.full_name();
        let number = |field: &str| match message.get_field_by_name(field).as_deref() {
            Some(Field::I64(value)) => i128::from(*value),
            Some(Field::I32(value)) => i128::from(*value),
            _ => 0,
        };
        match name {
            "google.protobuf.Timestamp" => {
                Self::Timestamp(number("seconds") * 1_000_000_000 + number("nanos"))
            }
            "google.protobuf.Duration" => Self::Duration(number("seconds") * 1_000_000_000 + number("nanos")),
            _ if is_wrapper(name) => match message.get_field_by_name("value") {
                Some(value) => Self::of(Cow::Owned(value.into_owned())),
                None => Self::Null,
            },
            _ => Self::Message(message),
        }
    }

    /// A field of a message: its default when it is not set, and null for what is wrapped.
    pub(super) fn field(message: Cow<'a, DynamicMessage>, field: &FieldDescriptor) -> Self {
        let wrapped = field.kind().as_message().is_some_and(|message| is_wrapper(message.full_name()));
        if wrapped && !field.is_list() && !message.has_field(field) {
            return Self::Null;
        }
        match message {
            Cow::Borrowed(message) => Self::of(message.get_field(field)),
            Cow::Owned(message) => Self::of(Cow::Owned(message.get_field(field).into_owned())),
        }
    }

    /// What it is called in failures.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "timestamp",
            Self::Duration(_) => "duration",
            Self::Ip(_) => "ip",
            Self::Cidr(_) => "cidr",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Message(_) => "message",
        }
    }

    /// Bytes that handling it costs, about: in the same measure for texts and for lists of them.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => 64 * list.len(),
            Self::Map(map) => 128 * map.len(),
            Self::Message(_) => 256,
            _ => 1,
        }
    }

    /// Whether both are the same: numbers by their value whatever their type.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Timestamp(one), Self::Timestamp(other)) | (Self::Duration(one), Self::Duration(other)) => {
                one == other
            }
            (Self::Ip(one), Self::Ip(other)) => one == other,
            (Self::Cidr(one), Self::Cidr(other)) => one == other,
            (Self::List(one), Self::List(other)) => {
                one.len() == other.len() && one.iter().zip(&**other).all(|(one, other)| one.equals(other))
            }
            (Self::Map(one), Self::Map(other)) => {
                let found = |(key, value): &(Self, Self)| {
                    other.iter().any(|(other, found)| key.equals(other) && value.equals(found))
                };
                one.len() == other.len() && one.iter().all(found)
            }
            (Self::Message(one), Self::Message(other)) => one == other,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// Which comes first; `None`: there is no order between them.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            (Self::Timestamp(one), Self::Timestamp(other)) | (Self::Duration(one), Self::Duration(other)) => {
                Some(one.cmp(other))
            }
            _ => match (self.whole(), other.whole()) {
                (Some(one), Some(other)) => Some(one.cmp(&other)),
                _ => self.number()?.partial_cmp(&other.number()?),
            },
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some((*value).into()),
            Self::Uint(value) => Some((*value).into()),
            _ => None,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a comparison with a floating-point number is never exact"
    )]
    fn number(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            _ => self.whole().map(|value| value as f64),
        }
    }
}

fn is_wrapper(name: &str) -> bool {
    name.strip_prefix("google.protobuf.")
        .is_some_and(|name| name.ends_with("Value") && name != "ListValue" && name != "Value")
}
