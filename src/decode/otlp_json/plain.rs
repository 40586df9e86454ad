//! Spans as most writers write them, parsed with one look at each byte.
//!
//! What is unusual (escapes in what is read, numbers that are not whole, keys told twice, other shapes) is left to
//! serde: here is no span then, and the text is parsed again. So what is read is what serde reads, only sooner.

use serde::Deserialize;

use super::{JsonArray, JsonLink, JsonStatus, JsonValue, KeyValue, Span, Value};
use crate::decode::json_documents::plain_in_json_string;
use crate::decode::json_value::Scalar;

/// The span in `json`, which is one JSON value and nothing else; `None` if it has something unusual.
pub(in crate::decode) fn plain_span(json: &str) -> Option<Span<'_>> {
    let mut text = Text { json, rest: json.as_bytes() };
    let mut span = Span::default();
    let mut told = Told(0);
    text.object(|text, key| {
        match key {
            "traceId" | "trace_id" => span.trace_id = told.once(0, text.scalar()?)?,
            "spanId" | "span_id" => span.span_id = told.once(1, text.scalar()?)?,
            "parentSpanId" | "parent_span_id" => span.parent_span_id = told.once(2, text.scalar()?)?,
            "name" => span.name = told.once(3, text.scalar()?)?,
            "kind" => span.kind = told.once(4, text.scalar()?)?,
            "startTimeUnixNano" | "start_time_unix_nano" => span.start = told.once(5, text.scalar()?)?,
            "endTimeUnixNano" | "end_time_unix_nano" => span.end = told.once(6, text.scalar()?)?,
            "attributes" => span.attributes = told.once(7, text.attributes()?)?,
            "links" => span.links = told.once(8, text.by_serde::<Option<Vec<JsonLink<'_>>>>()?)?,
            "status" => span.status = told.once(9, text.by_serde::<Option<JsonStatus<'_>>>()?)?,
            _ => text.skip()?,
        }
        Some(())
    })?;
    text.space();
    text.rest.is_empty().then_some(span)
}

/// Room for as many attributes is made at first.
const USUAL_ATTRIBUTES: usize = 8;

/// What was told of an object: a bit for each key that is read.
struct Told(u16);

impl Told {
    /// The value, if it is the first of its key.
    fn once<T>(&mut self, key: u16, value: T) -> Option<T> {
        let is_first = self.0 & 1 << key == 0;
        self.0 |= 1 << key;
        is_first.then_some(value)
    }
}

/// A JSON text and what of it was not read yet.
struct Text<'j> {
    json: &'j str,
    rest: &'j [u8],
}

impl<'j> Text<'j> {
    /// How far it was read.
    fn at(&self) -> usize {
        self.json.len().saturating_sub(self.rest.len())
    }

    fn pass(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The next byte that is no white space, without passing it.
    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.rest.first().copied()
    }

    /// Passes the next byte that is no white space, and says which it is.
    fn next(&mut self) -> Option<u8> {
        self.space();
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'j str> {
        self.expect(b'"')?;
        let start = self.at();
        let length = plain_in_json_string(self.rest);
        let [b'"', rest @ ..] = self.rest.get(length..)? else { return None };
        self.rest = rest;
        self.json.get(start..start.saturating_add(length))
    }

    /// Reads an object, of which `member` gets the keys and reads the values.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'j str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.pass(1);
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            member(self, key)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A string, a whole number or a boolean; what is neither is as if it were missing.
    fn scalar(&mut self) -> Option<Scalar<'j>> {
        match self.peek()? {
            b'"' => return Some(Scalar::Text(self.string()?.into())),
            b'{' | b'[' => {
                self.skip()?;
                return Some(Scalar::Missing);
            }
            _ => {}
        }
        match self.word()? {
            "null" => Some(Scalar::Missing),
            "true" => Some(Scalar::Flag(true)),
            "false" => Some(Scalar::Flag(false)),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().ok().map(Scalar::Unsigned)
            }
            _ => None,
        }
    }

    /// What there is up to the next comma or bracket: a number, `true`, `false` or `null`.
    fn word(&mut self) -> Option<&'j str> {
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let start = self.at();
        self.pass(self.rest.iter().position(ends).unwrap_or(self.rest.len()));
        self.json.get(start..self.at())
    }

    /// Passes a value, whatever it is.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    self.pass(1);
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.pass(1);
                }
                b',' | b':' => {
                    self.pass(1);
                    continue;
                }
                _ => {
                    self.word()?;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.pass(plain_in_json_string(self.rest));
            match self.rest.first()? {
                b'"' => {
                    self.pass(1);
                    return Some(());
                }
                b'\\' => self.pass(2),
                _ => self.pass(1),
            }
        }
    }

    /// A value of which there is little, or which is rare.
    fn by_serde<T: Deserialize<'j>>(&mut self) -> Option<T> {
        self.space();
        let start = self.at();
        self.skip()?;
        serde_json::from_str(self.json.get(start..self.at())?).ok()
    }

    fn attributes(&mut self) -> Option<Option<Vec<KeyValue<'j>>>> {
        if self.peek()? != b'[' {
            return (self.scalar()? == Scalar::Missing && self.json.get(..self.at())?.ends_with("null"))
                .then_some(None);
        }
        self.pass(1);
        let mut attributes = Vec::with_capacity(USUAL_ATTRIBUTES);
        if self.peek()? == b']' {
            self.pass(1);
            return Some(Some(attributes));
        }
        loop {
            attributes.push(self.attribute()?);
            match self.next()? {
                b',' => {}
                b']' => return Some(Some(attributes)),
                _ => return None,
            }
        }
    }

    fn attribute(&mut self) -> Option<KeyValue<'j>> {
        let mut attribute = KeyValue::default();
        let mut told = Told(0);
        self.object(|text, key| {
            match key {
                "key" => attribute.key = told.once(0, text.scalar()?)?,
                "value" => attribute.value = told.once(1, Some(text.value()?))?,
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(attribute)
    }

    fn value(&mut self) -> Option<Value<'j>> {
        let mut value = JsonValue::default();
        let mut told = Told(0);
        self.object(|text, key| {
            match key {
                "stringValue" | "string_value" => value.string = told.once(0, text.scalar()?)?,
                "boolValue" | "bool_value" => value.boolean = told.once(1, text.scalar()?)?,
                "intValue" | "int_value" => value.int = told.once(2, text.scalar()?)?,
                "doubleValue" | "double_value" => value.double = told.once(3, text.scalar()?)?,
                "arrayValue" | "array_value" => {
                    value.array = told.once(4, text.by_serde::<Option<JsonArray<'_>>>()?)?;
                }
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(value.into_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// What serde and this file read are the same, as far as this one reads anything; says whether it does.
    #[track_caller]
    fn reads_as_serde_does(json: &str) -> bool {
        let Some(span) = plain_span(json) else { return false };
        assert_eq!(Some(span), serde_json::from_str(json).ok(), "{json}");
        true
    }

    #[test]
    fn what_is_usual_is_read() {
        for json in [
            r#"{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","parentSpanId":"","flags":257,
                "name":"é","kind":1,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":18446744073709551615,
                "attributes":[{"key":"a","value":{"stringValue":"b"}},{"key":"n","value":{"intValue":"-7"}},
                {"key":"x","value":{"arrayValue":{"values":[{"stringValue":"c"}]}}},{"value":{},"key":"y"}],
                "events":[{"name":"e\"}]","timeUnixNano":1.5e3,"attributes":[{"key":"k\\","value":{}}]}],
                "links":[{"traceId":"1","spanId":"2"}],"status":{"code":2,"message":"no\n"}}"#,
            "{}",
            " { } ",
            r#"{"attributes":[]}"#,
            r#"{"attributes":null,"status":null,"links":null,"name":null,"kind":{"a":[1,{"b":"}"}]},"span_id":true}"#,
        ] {
            assert!(reads_as_serde_does(json), "{json}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_serde() {
        for json in [
            r#"{"name":"a\n"}"#,
            r#"{"na\u006de":"a"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"traceId":"a","trace_id":"b"}"#,
            r#"{"kind":-1}"#,
            r#"{"kind":1.5}"#,
            r#"{"kind":18446744073709551616}"#,
            r#"{"attributes":[null]}"#,
            r#"{"attributes":[["a",null]]}"#,
            r#"{"attributes":[{"key":"a","value":null}]}"#,
            r#"{"attributes":{}}"#,
            r#"{"attributes":"null"}"#,
            r#"{"links":[1]}"#,
            r#"["a"]"#,
            "null",
            "1",
        ] {
            assert!(plain_span(json).is_none(), "{json}");
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("0".to_owned()),
            Just("-0".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:e}")),
            "[a-c\\\\\"é\n{}\\[\\],:]{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        let key = prop_oneof![
            Just("key"),
            Just("value"),
            Just("stringValue"),
            Just("string_value"),
            Just("intValue"),
            Just("boolValue"),
            Just("doubleValue"),
            Just("arrayValue"),
            Just("values"),
            Just("attributes"),
            Just("links"),
            Just("status"),
            Just("code"),
            Just("name"),
            Just("traceId"),
            Just("spanId"),
            Just("kind"),
            Just("other"),
        ];
        let members = move |inner: BoxedStrategy<String>| {
            let member = (key.clone(), inner, "[ \n\t]{0,2}")
                .prop_map(|(key, value, space)| format!("{space}\"{key}\"{space}:{space}{value}{space}"));
            proptest::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
        };
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                2 => members(inner.clone().boxed()),
                1 => proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_is_read_is_what_serde_reads(json in value()) {
            let _: &RawValue = serde_json::from_str(&json).unwrap();
            reads_as_serde_does(&json);
            reads_as_serde_does(&format!(r#"{{"attributes":[{json}]}}"#));
            reads_as_serde_does(&format!(r#"{{"attributes":[{{"key":"a","value":{json}}}],"links":[{json}],"status":{json}}}"#));
            reads_as_serde_does(&format!(r#"{{"x":{json},"name":{json},"endTimeUnixNano":{json}}}"#));
        }
    }
}
