//! Why a call has no price.

use std::fmt;

/// Why a call has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unpriced {
    /// Nothing says which model it was.
    ModelMissing,
    /// Nothing says what it used.
    UsageMissing,
    /// The call failed and nothing says that a model used anything: most such calls are not billed.
    FailedWithoutUsage,
    /// The table does not know the provider, or nothing says who it was and the model's name does not either.
    UnknownProvider,
    /// The table does not know the model.
    UnknownModel,
    /// The table knows the model and no price of what it used.
    NoPrice,
    /// A part of the counts is larger than the whole it is in, or is told without it.
    CountsContradict,
    /// A count is negative, not whole, or beyond 2⁶³.
    BadCount,
    /// The amount is beyond what any bill has.
    TooLarge,
}

impl Unpriced {
    /// All reasons, in the order above.
    pub const ALL: [Unpriced; 9] = [
        Unpriced::ModelMissing,
        Unpriced::UsageMissing,
        Unpriced::FailedWithoutUsage,
        Unpriced::UnknownProvider,
        Unpriced::UnknownModel,
        Unpriced::NoPrice,
        Unpriced::CountsContradict,
        Unpriced::BadCount,
        Unpriced::TooLarge,
    ];

    /// Its name in JSON and on metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unpriced::ModelMissing => "model_missing",
            Unpriced::UsageMissing => "usage_missing",
            Unpriced::FailedWithoutUsage => "failed_without_usage",
            Unpriced::UnknownProvider => "unknown_provider",
            Unpriced::UnknownModel => "unknown_model",
            Unpriced::NoPrice => "no_price",
            Unpriced::CountsContradict => "counts_contradict",
            Unpriced::BadCount => "bad_count",
            Unpriced::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Unpriced {
    /// A sentence for people, without its full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unpriced::ModelMissing => "nothing says which model was called",
            Unpriced::UsageMissing => "nothing says how many tokens were used",
            Unpriced::FailedWithoutUsage => "it failed, and nothing says that it used anything",
            Unpriced::UnknownProvider => "who was called is not told, or not in the price table",
            Unpriced::UnknownModel => "the price table does not have this provider's model",
            Unpriced::NoPrice => "the price table has the model, but no price of what was used",
            Unpriced::CountsContradict => {
                "the token counts contradict each other: a part is larger than its whole, or told without it"
            }
            Unpriced::BadCount => "a token count is negative, not whole, or too large to be one",
            Unpriced::TooLarge => "the amount is larger than any bill",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_sentence_of_its_own() {
        let names: std::collections::BTreeSet<_> = Unpriced::ALL.map(Unpriced::as_str).into();
        let sentences: std::collections::BTreeSet<_> = Unpriced::ALL.map(|reason| reason.to_string()).into();
        assert_eq!((names.len(), sentences.len()), (Unpriced::ALL.len(), Unpriced::ALL.len()));
    }
}
