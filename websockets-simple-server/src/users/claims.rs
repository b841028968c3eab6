//! Claims about a user, from a token or from an introspection response.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::users::user_service::Authenticated;

/// Claims by their names.
pub(crate) type Claims = Map<String, Value>;

/// Longest token that is parsed, in bytes. Tokens of real issuers take 1 to 2 KiB; a longer one only costs time.
pub(crate) const LONGEST_TOKEN: usize = 8 * 1024;

/// The user with the id from `id_claim`, and the scopes and the credential id from the other claims.
pub(crate) fn user<T: DeserializeOwned>(claims: &Claims, id_claim: &str) -> Option<Authenticated<T>> {
    let user = Authenticated::new(user_id(claims.get(id_claim)?)?).scopes(scopes(claims));
    Some(match claims.get("jti").and_then(Value::as_str) {
        Some(credential) => user.credential(credential),
        None => user,
    })
}

/// An id from a number or a string, whichever of them the type accepts: issuers write numbers as strings, too.
fn user_id<T: DeserializeOwned>(claim: &Value) -> Option<T> {
    let other = match claim {
        Value::String(text) => number(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string().into()),
        _ => return None,
    };
    T::deserialize(claim).ok().or_else(|| T::deserialize(other?).ok())
}

/// The number in a string, if it is in canonical form: two different strings must not be the same user.
fn number(text: &str) -> Option<Value> {
    fn exact<N: FromStr + ToString + Into<Value>>(text: &str) -> Option<Value> {
        let number = text.parse::<N>().ok()?;
        (number.to_string() == text).then(|| number.into())
    }

    exact::<i64>(text).or_else(|| exact::<u64>(text))
}

/// The scopes in `scope` (RFC 8693 section 4.2) or else `scp`, separated by spaces or a list.
fn scopes(claims: &Claims) -> Vec<String> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The time in seconds since 1970 (RFC 7519 section 2, `NumericDate`), fractions cut off.
pub(crate) fn time(claim: &Value) -> Option<DateTime<Utc>> {
    /// Integers below 2^53 are exact as `f64`, which is far beyond any calendar.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let seconds = claim.as_i64().or_else(|| {
        let seconds = claim.as_f64().filter(|seconds| seconds.abs() < EXACT)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is in range, and the fraction is to be cut off"
        )]
        Some(seconds as i64)
    })?;
    DateTime::from_timestamp(seconds, 0)
}

/// Whether a claim is one of these strings, or a list with one of them.
pub(crate) fn is_one_of(claim: &Value, accepted: &[String]) -> bool {
    let accepted = |value: &Value| value.as_str().is_some_and(|text| accepted.iter().any(|one| one == text));
    match claim {
        Value::Array(list) => list.iter().any(accepted),
        value => accepted(value),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Name {
        Ronald,
    }

    #[test]
    fn ids_are_numbers_and_texts_whichever_the_type_takes() {
        assert_eq!(user_id::<i64>(&json!(7)), Some(7));
        assert_eq!(user_id::<i64>(&json!("-7")), Some(-7));
        assert_eq!(user_id::<u64>(&json!("18446744073709551615")), Some(u64::MAX));
        assert_eq!(user_id::<u8>(&json!("0")), Some(0));
        assert_eq!(user_id::<String>(&json!("")), Some(String::new()));
        assert_eq!(user_id::<String>(&json!(7)), Some("7".to_owned()));
        assert_eq!(user_id::<Name>(&json!("ronald")), Some(Name::Ronald));
    }

    #[test]
    fn what_is_not_exactly_an_id_is_none() {
        for claim in
            [json!("07"), json!("+7"), json!(" 7"), json!("7.0"), json!(""), json!("-0"), json!("7a")]
        {
            assert_eq!(user_id::<i64>(&claim), None, "{claim}");
        }
        for claim in
            [json!(null), json!(true), json!(7.5), json!([7]), json!({"id": 7}), json!(256), json!(-1)]
        {
            assert_eq!(user_id::<u8>(&claim), None, "{claim}");
        }
        assert_eq!(user_id::<String>(&json!(7.5)), None);
        assert_eq!(user_id::<Name>(&json!("donald")), None);
    }

    #[test]
    fn scopes_come_as_a_text_or_a_list_under_either_name() {
        for claims in [
            json!({"scope": "read  write"}),
            json!({"scope": ["read", "write", 7]}),
            json!({"scp": ["read", "write"]}),
            json!({"scp": "read write"}),
            json!({"scope": "read write", "scp": ["admin"]}),
        ] {
            assert_eq!(scopes(claims.as_object().unwrap()), ["read", "write"], "{claims}");
        }
        assert!(scopes(json!({"scope": 7}).as_object().unwrap()).is_empty());
    }

    #[test]
    fn times_are_seconds_and_nothing_else() {
        let at = DateTime::from_timestamp(1_700_000_000, 0);
        assert_eq!(time(&json!(1_700_000_000)), at);
        assert_eq!(time(&json!(1_700_000_000.9)), at);
        assert_eq!(time(&json!(1.7e9)), at);
        for claim in [
            json!("1700000000"),
            json!(null),
            json!([1]),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(-1e300),
        ] {
            assert_eq!(time(&claim), None, "{claim}");
        }
    }
}
