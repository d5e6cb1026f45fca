//! Why a filter cannot be honoured.

use std::fmt;

/// Where in a request or an option the filter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `allow_list`, `deny_list`, `field_filters` or `redaction_filters`.
    pub list: &'static str,
    /// Position in the list, from 0.
    pub index: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.list, self.index)
    }
}

/// Why a filter cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A regular expression with a mistake in it.
    #[error("{place}.{field}[{entry}]: bad regular expression {pattern:?} at byte {offset}: {reason}")]
    Regex {
        /// The filter.
        place: Place,
        /// Its field.
        field: &'static str,
        /// Position among the values of the field.
        entry: usize,
        /// The expression.
        pattern: String,
        /// Byte of the expression at which the mistake begins.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A label selector with a mistake in it.
    #[error("{place}.labels[{entry}]: bad label selector {selector:?} at byte {offset}: {reason}")]
    Selector {
        /// The filter.
        place: Place,
        /// Position among the values of the field.
        entry: usize,
        /// The selector.
        selector: String,
        /// Byte of the selector at which the mistake begins.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A condition on a capability set that is none, or several.
    #[error("{place}.capabilities.{set}: exactly one of any, all, exactly, none must be given, not {given}")]
    Capabilities {
        /// The filter.
        place: Place,
        /// The capability set.
        set: &'static str,
        /// How many are given.
        given: usize,
    },
    /// A number that is no event type.
    #[error("{place}.event_set: {value} is not an event type")]
    EventType {
        /// The filter.
        place: Place,
        /// The number.
        value: i32,
    },
    /// A CEL expression with a mistake in it.
    #[error("{place}.cel_expression[{entry}]: bad expression {expression:?} at byte {offset}: {reason}")]
    Expression {
        /// The filter.
        place: Place,
        /// Position among the values of the field.
        entry: usize,
        /// The expression.
        expression: String,
        /// Byte of the expression at which the mistake begins.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A field that this agent's configuration does not allow to honour.
    #[error("{place}.{field}: the agent does not record what this filter asks for; start it with {option}")]
    NotOffered {
        /// The filter.
        place: Place,
        /// The field.
        field: &'static str,
        /// What must be switched on.
        option: String,
    },
    /// More than what is reasonable.
    #[error("{list}: {given} {what} given, {limit} allowed")]
    TooMany {
        /// The list.
        list: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A path that is in no event.
    #[error("{place}.fields: no event has a field {path:?}: there is no {part:?}")]
    FieldPath {
        /// The field filter.
        place: Place,
        /// The path.
        path: String,
        /// The part of it that no field is called.
        part: String,
    },
    /// A field filter without paths, or with an action that does not exist.
    #[error("{place}: {reason}")]
    FieldFilter {
        /// The field filter.
        place: Place,
        /// What is wrong.
        reason: &'static str,
    },
    /// Options of aggregation that cannot be honoured.
    #[error("aggregation_options: {reason}")]
    Aggregation {
        /// What is wrong.
        reason: &'static str,
    },
    /// A redaction filter that hides nothing, or not what it says.
    #[error("{place}: {reason}")]
    Redaction {
        /// The filter.
        place: Place,
        /// What is wrong.
        reason: &'static str,
    },
    /// Text that is not a sequence of filters.
    #[error("{what} number {index}, line {line}, column {column}: {reason}")]
    Text {
        /// `filter`, `field filter` or `redaction filter`.
        what: &'static str,
        /// Which of the sequence, from 1.
        index: usize,
        /// Line of the text, from 1.
        line: usize,
        /// Column of the line, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

impl From<FilterError> for tonic::Status {
    fn from(error: FilterError) -> Self {
        let code = match error {
            FilterError::NotOffered { .. } => tonic::Code::FailedPrecondition,
            _ => tonic::Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}
